// What this build has no kernels for: other families of processors, and what PL_WITHOUT_… names. Files of kernels take most of the
// time of a build, so one for a single machine (engine/build.py) leaves out those that its processor cannot run, of the
// names that stand here.
#include "../quant/quantize.h"
#include "kernels.h"

#if !defined(__x86_64__)
#define PL_WITHOUT_AVX2
#define PL_WITHOUT_AVX_VNNI
#define PL_WITHOUT_AVX512
#define PL_WITHOUT_AVX512_VNNI
#endif
#if !defined(__aarch64__)
#define PL_WITHOUT_NEON
#define PL_WITHOUT_NEON_DOTPROD
#define PL_WITHOUT_NEON_I8MM
#endif

namespace pl {

#if defined(PL_WITHOUT_AVX2)
const Fill kFillAvx2 = nullptr;
#endif
#if defined(PL_WITHOUT_AVX_VNNI)
const Fill kFillAvxVnni = nullptr;
#endif
#if defined(PL_WITHOUT_AVX512)
const Fill kFillAvx512 = nullptr;
#endif
#if defined(PL_WITHOUT_AVX512_VNNI)
const Fill kFillAvx512Vnni = nullptr;
#endif
#if defined(PL_WITHOUT_NEON)
const Fill kFillNeon = nullptr;
#endif
#if defined(PL_WITHOUT_NEON_DOTPROD)
const Fill kFillNeonDotprod = nullptr;
#endif
#if defined(PL_WITHOUT_NEON_I8MM)
const Fill kFillNeonI8mm = nullptr;
#endif

#if defined(PL_WITHOUT_AVX2_QUANTIZE)
void fill_avx2(Quantizers&) {}
#endif
#if defined(PL_WITHOUT_AVX512_QUANTIZE)
void fill_avx512(Quantizers&) {}
#endif

}  // namespace pl

// What stands in for files of kernels that this build does not have: those of other families of processors, and those that
// PL_WITHOUT_… names. They take most of a build's time, so a build for one machine (engine/build.py, which reads the names
// here) leaves out what its processor cannot run.
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

// Compiled with: -O2 -mavx2 -mfma -mf16c -mavxvnni?
// Products with quantized matrices for x86-64 with AVX2 and its dot product of bytes (AVX-VNNI: Alder Lake and later without
// AVX-512). GCC 10 and Clang 11 do not know it: then there are none. For processors that do not, kernels_test has these
// same kernels with that one instruction emulated (tests/emulated_vnni.cc).
#if defined(__x86_64__)

#include "avx2_vector.h"
#include "panel_products.h"

namespace pl {

#if defined(__AVXVNNI__)
const Fill kFillAvxVnni = fill_panel_products<Avx2>;
#else
const Fill kFillAvxVnni = nullptr;
#endif

}  // namespace pl

#endif

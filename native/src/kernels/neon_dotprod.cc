// Compiled with: -march=armv8.2-a+dotprod
// Products with quantized matrices for aarch64 with sdot (FEAT_DotProd: optional from ARMv8.2 on, in all of ARMv8.4).
#if defined(__aarch64__)

#include "neon_int8.h"

static_assert(__ARM_FEATURE_DOTPROD == 1);

namespace pl {

const Fill kFillNeonDotprod = fill_neon_int8;

}  // namespace pl

#endif

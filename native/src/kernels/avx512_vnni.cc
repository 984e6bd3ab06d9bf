// Compiled with: -O2 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mavx2 -mfma -mf16c -mprefer-vector-width=512
// Products with quantized matrices for x86-64 with AVX-512 and its dot product of bytes (VNNI).
#if defined(__x86_64__)

#include "avx512_vector.h"
#include "panel_products.h"

namespace pl {

const Fill kFillAvx512Vnni = fill_panel_products<Avx512>;

}  // namespace pl

#endif

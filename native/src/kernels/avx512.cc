// Compiled with: -O2 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mf16c -mprefer-vector-width=512
// Products with quantized matrices for x86-64 with AVX-512 without VNNI.
#if defined(__x86_64__)

#include "attention_block.h"
#include "avx512_vector.h"
#include "float_products.h"
#include "panel_products.h"

namespace pl {

const Fill kFillAvx512 = [](Kernels& table) {
  fill_panel_products<Avx512>(table);
  fill_float_products<Avx512>(table);
  fill_attention<Avx512>(table);
};

}  // namespace pl

#endif

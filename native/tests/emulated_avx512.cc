// The kernels of avx512.cc with the instructions of AVX2, for the tests of kernels: all else is the same.
#include "emulated_avx512.h"

#include "../src/kernels/attention_block.h"
#include "../src/kernels/float_products.h"
#include "../src/kernels/panel_products.h"

void fill_emulated_avx512(pl::Kernels& table) {
  pl::fill_panel_products<pl::Avx512>(table);
  pl::fill_float_products<pl::Avx512>(table);
  pl::fill_attention<pl::Avx512>(table);
}

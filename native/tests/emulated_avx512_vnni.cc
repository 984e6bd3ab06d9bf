// The kernels of avx512_vnni.cc with the instructions of AVX2, for the tests of kernels: all else is the same.
#include <immintrin.h>  // first: it looks at the next line's name too
#define __AVX512VNNI__ 1
#include "emulated_avx512.h"

#include "../src/kernels/panel_products.h"

void fill_emulated_avx512_vnni(pl::Kernels& table) { pl::fill_panel_products<pl::Avx512>(table); }

// Compiled with: -mavx2
#define PL_LANES 8
#include "quantize_fill.h"

void pl::fill_avx2(Quantizers& out) { fill(out); }

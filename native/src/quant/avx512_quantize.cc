// Compiled with: -mavx512f -mavx512bw -mavx512dq -mavx512vl
#define PL_LANES 16
#include "quantize_fill.h"

void pl::fill_avx512(Quantizers& out) { fill(out); }

// What every processor of the family has: SSE2, or NEON.
#define PL_LANES 4
#include "quantize_fill.h"

void pl::fill_baseline(Quantizers& out) { fill(out); }

// From floats to a tensor's blocks: for every type that is worth writing.
#pragma once

#include <cstdint>

#include "../types.h"

namespace pl {

// n finite floats, whole rows of `cols`, to whole blocks. `importance` (cols), or null where all weights are alike: how much
// the square of each column's error counts. Below limit() in magnitude.
using Quantize = void (*)(const float* x, void* out, int64_t n, int64_t cols, const float* importance);

struct Quantizers {
  Quantize at[40];  // by the number of the type; null where it is not written
  float (*largest)(const float* x, int64_t n);  // magnitude; NaN or infinity if one of them is that
};

// One for each instruction set, all with the same results.
void fill_baseline(Quantizers& out);
void fill_avx2(Quantizers& out);
void fill_avx512(Quantizers& out);

// Those for this machine.
const Quantizers& quantizers();
// The function of a type; null where the type is not written.
Quantize quantizer(Type type);

// From which magnitude on a number cannot be written in this type: scales are float16.
float limit(Type type);

// Rows of `from` to rows of `to`, by several threads.
struct Requantize {
  Type from, to;
  const void* src;  // (rows, cols)
  void* dst;        // (rows, cols)
  int64_t rows, cols;
  const float* importance;  // (cols), or null
  int threads;
  const int32_t* abort;  // or null; becomes non-zero: fails with kCancelled soon
};
// kUnsupported for a type that cannot be read or written, kUsage for rows that are not whole blocks, kInvalidModel for NaN,
// infinity and numbers too large for the type.
void requantize(const Requantize& work);

}  // namespace pl

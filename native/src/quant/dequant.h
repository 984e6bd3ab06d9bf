// Rows of weights as floats.
#pragma once

#include <cstdint>

#include "../types.h"

namespace pl {

using Dequant = void (*)(const void* src, float* dst, int64_t n);

// The function for a type of weights; nullptr for another type.
Dequant dequantizer(Type type);

// n elements, whole blocks; fails with kUnsupported for a type that holds no weights.
void dequantize_row(Type type, const void* src, float* dst, int64_t n);

}  // namespace pl

// Products one row and one token at a time, for where no tiles are. To be included by files of kernels only.
#pragma once

#include "kernels.h"

namespace pl {
namespace {

// A row of weights times a row of activations, which are const ActBlock* or const float*.
using Dot = float (*)(const void* w_row, const void* act, int64_t n);

// The table's act_tile must be 1: then the blocks of a token lie together.
template <Dot kDot, bool kInt8>
void multiply_rows(const Product& m) {
  for (int64_t r = 0; r < m.rows; ++r) {
    const std::byte* const row = m.w + r * m.row_bytes;
    for (int64_t t = 0; t < m.n; ++t) {
      const void* act = m.x + t * m.cols;
      if constexpr (kInt8) act = m.act + t * (m.cols / kActBlock);
      m.out[t * m.out_stride + r] = kDot(row, act, m.cols);
    }
  }
}

}  // namespace
}  // namespace pl

// Asking for what will be read. To be included by files of kernels only.
#pragma once

#include <cstdint>

#include "inlining.h"

namespace pl {
namespace {

// No nearer than the second cache: there are too few ways into the first one (measured on a Zen 4: 23 GB/s on one core, and 11
// with the first). Group i of a step asks for its share, for those of a whole step at once keep the ways to memory from
// what is read now.
template <class V, class Format>
struct Ahead {
  // Rows that lie apart are a stream each, which goes on behind the row's end.
  static constexpr int64_t kBytes = 256;
  static PL_INLINE void rows(const uint8_t* low, const uint8_t* high, int64_t stride, int i) {
    constexpr int kShare = V::kRows / Format::kGroups, kHalf = V::kRows / 2;
    static_assert(kShare * Format::kGroups == V::kRows);
    PL_UNROLL for (int r = i * kShare; r < (i + 1) * kShare; ++r) {
      const uint8_t* const row = (r < kHalf ? low : high) + r % kHalf * stride + kBytes;
      PL_UNROLL for (int b = 0; b < Format::kBytes; b += 64) __builtin_prefetch(row + b, 0, 1);
    }
  }
  // The rows of a panel that lie together are one piece of memory.
  static constexpr int kStep = V::kRows * Format::kBytes;
  static PL_INLINE void piece(const uint8_t* next, int i) {
    constexpr int kShare = kStep / Format::kGroups;
    const int first = (i * kShare + 63) / 64 * 64;
    PL_UNROLL for (int l = 0; l <= kShare / 64; ++l) {
      if (first + 64 * l < (i + 1) * kShare) __builtin_prefetch(next + first + 64 * l, 0, 1);
    }
  }
};

}  // namespace
}  // namespace pl

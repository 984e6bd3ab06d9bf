// Blocks side by side: one in each lane, so that what is done to a block is done to all of them at once.
#pragma once

#include "half.h"
#include "lanes.h"

namespace pl {
namespace {

// kSize weights of up to kLanes blocks, with their importance and, later, their quants.
template <int kSize>
struct LanesOf {
  Floats x[kSize], w[kSize], q[kSize];
  uint8_t bytes[kLanes][kSize];

  // The blocks from x + at on, of n weights in rows of `cols`; returns how many there are. Lanes without one hold zeros.
  int64_t take(const float* from, int64_t n, int64_t at, int64_t cols, const float* importance) {
    const int64_t left = (n - at) / kSize, blocks = left < kLanes ? left : kLanes;
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      if (lane >= blocks) {
        for (int i = 0; i < kSize; ++i) x[i][lane] = 0.0f, w[i][lane] = 1.0f;
        continue;
      }
      const int64_t start = at + lane * kSize;
      for (int i = 0; i < kSize; ++i) x[i][lane] = from[start + i];
      if (importance == nullptr) {
        for (int i = 0; i < kSize; ++i) w[i][lane] = 1.0f;
        continue;
      }
      const float* const weight = importance + start % cols;
      for (int i = 0; i < kSize; ++i) w[i][lane] = weight[i];
    }
    return blocks;
  }

  // The quants of one block, as bytes. Asked for in the order of the lanes.
  const uint8_t* quants(int lane) {
    if (lane == 0) {
      for (int i = 0; i < kSize; ++i) {
        uint8_t across[kLanes];
        store_bytes(__builtin_convertvector(q[i], Ints), across);
        for (int l = 0; l < kLanes; ++l) bytes[l][i] = across[l];
      }
    }
    return bytes[lane];
  }
};

inline Floats through_f16(Floats x) {
  for (int i = 0; i < kLanes; ++i) x[i] = f16_to_f32(f32_to_f16(x[i]));
  return x;
}

}  // namespace
}  // namespace pl

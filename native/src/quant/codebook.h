// IQ4_NL: 32 weights share a float16, and a nibble stands for one of sixteen values that lie closer together around 0.
#pragma once

#include "blocks_in_lanes.h"
#include "fit.h"
#include "quantize.h"

namespace pl {
namespace {

// Which of the sixteen a value is.
struct CodebookIndex {
  uint8_t of[256];
  CodebookIndex() : of{} {
    for (int i = 0; i < 16; ++i) of[kIQ4Values[i] + 128] = static_cast<uint8_t>(i);
  }
};

inline void quantize_iq4_nl(const float* x, void* out, int64_t n, int64_t cols, const float* importance) {
  const CodebookIndex index;
  const Codebook values;
  LanesOf<32> c;
  for (int64_t at = 0; at < n; at += 32 * kLanes) {
    const int64_t blocks = c.take(x, n, at, cols, importance);
    const Floats d = through_f16(fit_scale(c.x, c.w, 32, values, Search{-7.0f, 2.0f, 8, 2, 8}));
    const Floats inverse = ratio(splat(1.0f), d);
    for (int i = 0; i < 32; ++i) c.q[i] = values(c.x[i] * inverse) + 128.0f;
    for (int lane = 0; lane < blocks; ++lane) {
      BlockIQ4_NL& b = static_cast<BlockIQ4_NL*>(out)[at / 32 + lane];
      const uint8_t* const q = c.quants(lane);
      b.d = f32_to_f16(d[lane]);
      for (int i = 0; i < 16; ++i) b.qs[i] = static_cast<uint8_t>(index.of[q[i]] | index.of[q[i + 16]] << 4);
    }
  }
}

}  // namespace
}  // namespace pl

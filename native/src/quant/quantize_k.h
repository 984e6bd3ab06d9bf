// The K-quants: 256 weights share one or two float16; groups of 16 or 32 have small whole numbers that multiply them.
// Each lane is a block. First each group is fitted by itself (fit.h); then, with the block's float16 fixed, each group
// chooses again, knowing what its neighbours' common factor makes of its scale; then the factor is fitted to the choices.
#pragma once

#include "blocks_in_lanes.h"
#include "codebook.h"
#include "fit.h"
#include "pack.h"
#include "quantize.h"

namespace pl {
namespace {

// A block in each lane, and what becomes of it.
struct Blocks : LanesOf<256> {
  Floats scale[16], low[16];  // of each group, whole numbers
  Floats d, dmin;             // what float16 makes of them
};

// x ≈ d * scale * q - dmin * low, for kGroups groups; q up to `most`, scale and low up to `finest`.
template <int kGroups>
struct AffineK {
  static constexpr int kSize = 256 / kGroups, kGroupCount = kGroups;
  float most, finest;
  Search search;
  int rounds;

  // The group's quants under this scale and offset, and their error.
  Floats quantize(const Floats* x, const Floats* w, Floats scale, Floats low, Floats* q) const {
    const Floats inverse = ratio(splat(1.0f), scale);
    Floats error{};
    for (int i = 0; i < kSize; ++i) {
      q[i] = between(nearest((x[i] + low) * inverse), 0.0f, most);
      const Floats off = x[i] + low - scale * q[i];
      error += w[i] * off * off;
    }
    return error;
  }

  // The whole numbers of one group, near what it would like: `wish` is its scale in units of d. The offset follows from the
  // scale, for it can make up for what rounding the scale did.
  void choose(Blocks& b, int g, Floats wish, Floats low) const {
    const Floats* const x = b.x + g * kSize;
    const Floats* const w = b.w + g * kSize;
    const Floats floor = nearest(wish - 0.5f);
    const Floats one_over_dmin = ratio(splat(1.0f), b.dmin);
    Floats best = splat(3e38f), q[kSize];
    for (int up = 0; up < 2; ++up) {
      const Floats whole = between(floor + static_cast<float>(up), 0.0f, finest), scale = b.d * whole;
      const Floats inverse = ratio(splat(1.0f), scale);
      Floats sum_w{}, rest{};
      for (int i = 0; i < kSize; ++i) {
        const Floats value = between(nearest((x[i] + low) * inverse), 0.0f, most);
        sum_w += w[i], rest += w[i] * (scale * value - x[i]);
      }
      const Floats whole_low = between(nearest(ratio(rest, sum_w) * one_over_dmin), 0.0f, finest);
      const Floats error = quantize(x, w, scale, b.dmin * whole_low, q);
      const Ints better = error < best;
      best = select(better, error, best);
      b.scale[g] = select(better, whole, b.scale[g]), b.low[g] = select(better, whole_low, b.low[g]);
    }
  }

  // d and dmin for the whole numbers that were chosen.
  void fit_factors(Blocks& b) const {
    Floats uu{}, uv{}, vv{}, xu{}, xv{};
    for (int g = 0; g < kGroups; ++g) {
      AffineSums s;
      Floats sum_w{}, sum_x{};
      for (int i = g * kSize; i < (g + 1) * kSize; ++i) s.add(b.q[i], b.x[i], b.w[i]), sum_w += b.w[i], sum_x += b.w[i] * b.x[i];
      const Floats u = b.scale[g], v = -b.low[g];
      uu += u * u * s.qq, uv += u * v * s.q, vv += v * v * sum_w, xu += u * s.xq, xv += v * sum_x;
    }
    const Floats d = ratio(xu * vv - xv * uv, uu * vv - uv * uv), dmin = ratio(xv * uu - xu * uv, uu * vv - uv * uv);
    const Ints both = (d > 0.0f) & (dmin > 0.0f);
    b.d = through_f16(select(both, d, b.d)), b.dmin = through_f16(select(both, dmin, b.dmin));
  }

  void operator()(Blocks& b) const {
    Affine fits[kGroups];
    Floats widest{}, lowest{};
    for (int g = 0; g < kGroups; ++g) {
      fits[g] = fit_affine<false>(b.x + g * kSize, b.w + g * kSize, kSize, most, search);
      fits[g].scale = larger(fits[g].scale, Floats{});
      widest = larger(widest, fits[g].scale), lowest = smaller(lowest, fits[g].low);
    }
    b.d = through_f16(widest / finest), b.dmin = through_f16(lowest / -finest);
    for (int round = 0; round <= rounds; ++round) {
      const Floats one_over_d = ratio(splat(1.0f), b.d);
      for (int g = 0; g < kGroups; ++g) {
        choose(b, g, fits[g].scale * one_over_d, -fits[g].low);
        quantize(b.x + g * kSize, b.w + g * kSize, b.d * b.scale[g], b.dmin * b.low[g], b.q + g * kSize);
      }
      fit_factors(b);
    }
    for (int g = 0; g < kGroups; ++g) {
      quantize(b.x + g * kSize, b.w + g * kSize, b.d * b.scale[g], b.dmin * b.low[g], b.q + g * kSize);
    }
  }
};

// x ≈ d * scale * value(q), for kGroups groups; scales are whole numbers from `least` (below 0) to -least - 1.
template <int kGroups, typename Values>
struct ScaledK {
  static constexpr int kSize = 256 / kGroups, kGroupCount = kGroups;
  Values values;
  float least;
  Search search;
  int rounds;

  Floats quantize(const Floats* x, const Floats* w, Floats scale, Floats* q) const {
    const Floats inverse = ratio(splat(1.0f), scale);
    Floats error{};
    for (int i = 0; i < kSize; ++i) {
      q[i] = values(x[i] * inverse);
      const Floats off = x[i] - scale * q[i];
      error += w[i] * off * off;
    }
    return error;
  }

  void choose(Blocks& b, int g, Floats wish) const {
    const Floats floor = nearest(wish - 0.5f);
    Floats best = splat(3e38f), q[kSize];
    for (int up = 0; up < 2; ++up) {
      const Floats whole = between(floor + static_cast<float>(up), least, -least - 1.0f);
      const Floats error = quantize(b.x + g * kSize, b.w + g * kSize, b.d * whole, q);
      const Ints better = error < best;
      best = select(better, error, best), b.scale[g] = select(better, whole, b.scale[g]);
    }
  }

  void fit_factor(Blocks& b) const {
    Floats uu{}, xu{};
    for (int g = 0; g < kGroups; ++g) {
      Floats qq{}, xq{};
      for (int i = g * kSize; i < (g + 1) * kSize; ++i) qq += b.w[i] * b.q[i] * b.q[i], xq += b.w[i] * b.q[i] * b.x[i];
      uu += b.scale[g] * b.scale[g] * qq, xu += b.scale[g] * xq;
    }
    const Floats d = ratio(xu, uu);
    b.d = through_f16(select(d != 0.0f, d, b.d));
  }

  void operator()(Blocks& b) const {
    Floats fits[kGroups];
    for (int g = 0; g < kGroups; ++g) {
      fits[g] = fit_scale(b.x + g * kSize, b.w + g * kSize, kSize, values, search);
    }
    b.d = through_f16(largest(fits, kGroups) / least);
    for (int round = 0; round <= rounds; ++round) {
      const Floats one_over_d = ratio(splat(1.0f), b.d);
      for (int g = 0; g < kGroups; ++g) {
        choose(b, g, fits[g] * one_over_d);
        quantize(b.x + g * kSize, b.w + g * kSize, b.d * b.scale[g], b.q + g * kSize);
      }
      fit_factor(b);
    }
    for (int g = 0; g < kGroups; ++g) quantize(b.x + g * kSize, b.w + g * kSize, b.d * b.scale[g], b.q + g * kSize);
  }
};

// All blocks of n weights. `offset` makes what is stored of a quant.
template <typename Block, typename Method>
void quantize_k(const Method& method, int offset, const float* x, void* out, int64_t n, int64_t cols, const float* importance) {
  Blocks b;
  Parts parts;
  for (int64_t at = 0; at < n; at += 256 * kLanes) {
    const int64_t blocks = b.take(x, n, at, cols, importance);
    method(b);
    for (Floats& q : b.q) q += static_cast<float>(offset);
    for (int lane = 0; lane < blocks; ++lane) {
      parts.d = b.d[lane], parts.dmin = b.dmin[lane];
      for (int g = 0; g < Method::kGroupCount; ++g) {
        parts.scale[g] = static_cast<int>(b.scale[g][lane]), parts.low[g] = static_cast<int>(b.low[g][lane]);
      }
      parts.q = b.quants(lane);
      pack(parts, static_cast<Block*>(out)[at / 256 + lane]);
    }
  }
}

inline void quantize_q2_k(const float* x, void* out, int64_t n, int64_t cols, const float* importance) {
  quantize_k<BlockQ2_K>(AffineK<16>{3, 15, {-0.5f, 0.1f, 16, 2, 0}, 1}, 0, x, out, n, cols, importance);
}
inline void quantize_q4_k(const float* x, void* out, int64_t n, int64_t cols, const float* importance) {
  quantize_k<BlockQ4_K>(AffineK<8>{15, 63, {-0.9f, 0.15f, 13, 2, 0}, 1}, 0, x, out, n, cols, importance);
}
inline void quantize_q5_k(const float* x, void* out, int64_t n, int64_t cols, const float* importance) {
  quantize_k<BlockQ5_K>(AffineK<8>{31, 63, {-0.9f, 0.15f, 13, 2, 0}, 1}, 0, x, out, n, cols, importance);
}
inline void quantize_q3_k(const float* x, void* out, int64_t n, int64_t cols, const float* importance) {
  quantize_k<BlockQ3_K>(ScaledK<16, Whole>{{-4, 3}, -32, {-0.8f, 0.3f, 6, 2, 5}, 1}, 4, x, out, n, cols, importance);
}
inline void quantize_q6_k(const float* x, void* out, int64_t n, int64_t cols, const float* importance) {
  quantize_k<BlockQ6_K>(ScaledK<16, Whole>{{-32, 31}, -128, {-0.9f, 0.15f, 13, 2, 0}, 1}, 32, x, out, n, cols, importance);
}
inline void quantize_iq4_xs(const float* x, void* out, int64_t n, int64_t cols, const float* importance) {
  quantize_k<BlockIQ4_XS>(ScaledK<8, Codebook>{{}, -32, {-7.0f, 2.0f, 8, 2, 8}, 1}, 128, x, out, n, cols, importance);
}

}  // namespace
}  // namespace pl

// The types of 32 weights that are rounded and nothing else, as their definition has it: any two programs give the same
// bytes. Where columns have an importance, scale and offset are searched for (fit.h), which other programs can read as well.
//
//   Q8_0  d = max|x| / 127                      q = x / d, halves away from zero
//   Q4_0  d = x of the largest |x| / -8         q = trunc(x / d + 8.5), at most 15;  Q5_0 with -16, 16.5 and 31
//   Q4_1  d = (max - min) / 15, m = min         q = trunc((x - m) / d + 0.5);        Q5_1 with 31
#pragma once

#include "blocks_in_lanes.h"
#include "fit.h"
#include "quantize.h"

namespace pl {
namespace {

constexpr int kVectors = 32 / kLanes;  // of a block

// 1 / d, and 0 for a d so small that it is 0 in float16 by far and its reciprocal is infinite.
inline float reciprocal(float d) { return __builtin_fabsf(d) > 1e-38f ? 1.0f / d : 0.0f; }

struct Extremes {
  float low, high;
};

typedef float Four __attribute__((vector_size(16)));

inline Extremes extremes(const float* x) {
  Floats low = load(x), high = low;
  for (int v = 1; v < kVectors; ++v) {
    low = smaller(low, load(x + v * kLanes)), high = larger(high, load(x + v * kLanes));
  }
  Four lows[kLanes / 4], highs[kLanes / 4];
  std::memcpy(lows, &low, sizeof low), std::memcpy(highs, &high, sizeof high);
  for (int i = 1; i < kLanes / 4; ++i) {
    lows[0] = lows[i] < lows[0] ? lows[i] : lows[0], highs[0] = highs[i] > highs[0] ? highs[i] : highs[0];
  }
  const auto lower = [](float p, float q) { return p < q ? p : q; };
  const auto higher = [](float p, float q) { return p > q ? p : q; };
  const Four l = lows[0], h = highs[0];
  return {lower(lower(l[0], l[1]), lower(l[2], l[3])), higher(higher(h[0], h[1]), higher(h[2], h[3]))};
}

// The first element of the largest magnitude.
inline float outermost(const float* x) {
  const Extremes e = extremes(x);
  if (e.high != -e.low) return e.high > -e.low ? e.high : e.low;
  for (int i = 0; i < 32; ++i) {
    if (x[i] == e.low || x[i] == e.high) return x[i];
  }
  return 0.0f;
}

// q[i] = trunc((x[i] - low) * inverse + half), not above `most`; what is truncated is not negative.
inline void truncate(const float* x, float low, float inverse, float half, int32_t most, uint8_t* q) {
  for (int v = 0; v < kVectors; ++v) {
    const Floats scaled = (load(x + v * kLanes) - low) * inverse + half;
    Ints whole = __builtin_convertvector(scaled, Ints);
    whole = whole > most ? Ints{} + most : whole;
    store_bytes(whole, q + v * kLanes);
  }
}

typedef uint8_t SixteenBytes __attribute__((vector_size(16)));

inline void pack_nibbles(const uint8_t* q, uint8_t* out) {
  SixteenBytes low, high;
  std::memcpy(&low, q, 16), std::memcpy(&high, q + 16, 16);
  low = (low & 15) | (high << 4);
  std::memcpy(out, &low, 16);
}

inline void pack_fifth_bits(const uint8_t* q, uint8_t* out) {
  for (int i = 0; i < 4; ++i) {
    uint64_t eight;
    std::memcpy(&eight, q + 8 * i, 8);
    // The bits of the eight bytes, each shifted by this product to its place in the topmost byte.
    out[i] = static_cast<uint8_t>((eight >> 4 & 0x0101010101010101u) * 0x0102040810204080u >> 56);
  }
}

inline void put(BlockQ4_0& b, float d, float, const uint8_t* q) { b.d = f32_to_f16(d), pack_nibbles(q, b.qs); }
inline void put(BlockQ5_0& b, float d, float, const uint8_t* q) {
  b.d = f32_to_f16(d), pack_nibbles(q, b.qs), pack_fifth_bits(q, b.qh);
}
inline void put(BlockQ4_1& b, float d, float m, const uint8_t* q) {
  b.d = f32_to_f16(d), b.m = f32_to_f16(m), pack_nibbles(q, b.qs);
}
inline void put(BlockQ5_1& b, float d, float m, const uint8_t* q) {
  b.d = f32_to_f16(d), b.m = f32_to_f16(m), pack_nibbles(q, b.qs), pack_fifth_bits(q, b.qh);
}

// Q4_0 and Q5_0 (kBits 4 and 5), with a zero in the middle.
template <typename Block, int kBits>
void round_centred(const float* x, void* out, int64_t n) {
  constexpr float kZero = 1 << (kBits - 1);
  auto* b = static_cast<Block*>(out);
  uint8_t q[32];
  for (const float* const end = x + n; x < end; x += 32, ++b) {
    const float d = outermost(x) / -kZero;
    truncate(x, 0.0f, reciprocal(d), kZero + 0.5f, (1 << kBits) - 1, q);
    put(*b, d, 0.0f, q);
  }
}

// Q4_1 and Q5_1.
template <typename Block, int kBits>
void round_from_lowest(const float* x, void* out, int64_t n) {
  constexpr int kMost = (1 << kBits) - 1;
  auto* b = static_cast<Block*>(out);
  uint8_t q[32];
  for (const float* const end = x + n; x < end; x += 32, ++b) {
    const Extremes e = extremes(x);
    const float d = (e.high - e.low) / kMost;
    truncate(x, e.low, reciprocal(d), 0.5f, kMost, q);
    put(*b, d, e.low, q);
  }
}

inline void quantize_q8_0(const float* x, void* out, int64_t n, int64_t, const float*) {
  auto* b = static_cast<BlockQ8_0*>(out);
  for (const float* const end = x + n; x < end; x += 32, ++b) {
    const Extremes e = extremes(x);
    const float d = (e.high >= -e.low ? e.high : -e.low) / 127.0f, inverse = reciprocal(d);
    b->d = f32_to_f16(d);
    for (int v = 0; v < kVectors; ++v) {
      const Floats scaled = load(x + v * kLanes) * inverse, above = magnitude(scaled);
      // A half that is added is lost where the magnitude is just below one: so what is left is looked at by itself.
      const Ints whole = __builtin_convertvector(above, Ints);
      const Ints away = whole - (above - __builtin_convertvector(whole, Floats) >= 0.5f);
      const Ints minus = scaled < 0.0f;
      store_bytes((away ^ minus) - minus, b->qs + v * kLanes);
    }
  }
}

// ---- with an importance: each lane is a block

constexpr Search kWeighted{-1.2f, 0.2f, 13, 2, 6};

template <typename Block, int kBits>
void search_centred(const float* x, void* out, int64_t n, int64_t cols, const float* importance) {
  constexpr float kZero = 1 << (kBits - 1);
  const Whole values{-kZero, kZero - 1};
  LanesOf<32> c;
  for (int64_t at = 0; at < n; at += 32 * kLanes) {
    const int64_t blocks = c.take(x, n, at, cols, importance);
    const Floats d = through_f16(fit_scale(c.x, c.w, 32, values, kWeighted)), inverse = ratio(splat(1.0f), d);
    for (int i = 0; i < 32; ++i) c.q[i] = values(c.x[i] * inverse) + kZero;
    for (int lane = 0; lane < blocks; ++lane) put(static_cast<Block*>(out)[at / 32 + lane], d[lane], 0.0f, c.quants(lane));
  }
}

template <typename Block, int kBits>
void search_from_lowest(const float* x, void* out, int64_t n, int64_t cols, const float* importance) {
  constexpr float kMost = (1 << kBits) - 1;
  const Whole values{0.0f, kMost};
  LanesOf<32> c;
  for (int64_t at = 0; at < n; at += 32 * kLanes) {
    const int64_t blocks = c.take(x, n, at, cols, importance);
    const Affine fit = fit_affine<true>(c.x, c.w, 32, kMost, kWeighted);
    const Floats d = through_f16(fit.scale), low = through_f16(fit.low), inverse = ratio(splat(1.0f), d);
    for (int i = 0; i < 32; ++i) c.q[i] = values((c.x[i] - low) * inverse);
    for (int lane = 0; lane < blocks; ++lane) put(static_cast<Block*>(out)[at / 32 + lane], d[lane], low[lane], c.quants(lane));
  }
}

template <typename Block, int kBits>
void quantize_centred(const float* x, void* out, int64_t n, int64_t cols, const float* importance) {
  if (importance) return search_centred<Block, kBits>(x, out, n, cols, importance);
  round_centred<Block, kBits>(x, out, n);
}

template <typename Block, int kBits>
void quantize_from_lowest(const float* x, void* out, int64_t n, int64_t cols, const float* importance) {
  if (importance) return search_from_lowest<Block, kBits>(x, out, n, cols, importance);
  round_from_lowest<Block, kBits>(x, out, n);
}

}  // namespace
}  // namespace pl

// Products of quantized rows with quantized activations for aarch64. To be included by files of kernels only: neon.cc
// has them with widening multiplications, which every processor knows, neon_dotprod.cc with sdot, which is one
// instruction for three. Whole numbers are summed exactly by both, but in other lanes, so that results may differ in
// their last bits.
//
// The formats' zero points are taken from the weights before they are multiplied: unlike on x86-64, signed bytes cost
// no more than unsigned ones.
#pragma once

#include <arm_neon.h>

#include "../quant/unpack.h"
#include "kernels.h"
#include "multiply_rows.h"
#include "neon_half.h"

namespace pl {
namespace {

// sum += w · a, 16 products in four lanes. |w| is 128 at most and |a| 127, so two products fit 16 bits.
inline int32x4_t dot_16(int32x4_t sum, int8x16_t w, int8x16_t a) {
#if defined(__ARM_FEATURE_DOTPROD)
  return vdotq_s32(sum, w, a);
#else
  const int16x8_t low = vmull_s8(vget_low_s8(w), vget_low_s8(a));
  return vpadalq_s16(sum, vmlal_high_s8(low, w, a));
#endif
}

// 32 weights.
struct Quants {
  int8x16_t low, high;
};
inline int32x4_t dot_32(const Quants& w, const ActBlock& a) {
  return dot_16(dot_16(vdupq_n_s32(0), w.low, vld1q_s8(a.q)), w.high, vld1q_s8(a.q + 16));
}

// acc += scale * sums
inline float32x4_t add_scaled(float32x4_t acc, int32x4_t sums, float scale) {
  return vfmaq_n_f32(acc, vcvtq_f32_s32(sums), scale);
}

inline Quants less(uint8x16_t low, uint8x16_t high, int zero) {
  const int8x16_t z = vdupq_n_s8(static_cast<int8_t>(zero));
  return {vsubq_s8(vreinterpretq_s8_u8(low), z), vsubq_s8(vreinterpretq_s8_u8(high), z)};
}

// ---- types with 32 elements to a block

struct Nibbles {
  uint8x16_t low, high;
};
inline Nibbles nibbles(const uint8_t* qs) {
  const uint8x16_t packed = vld1q_u8(qs);
  return {vandq_u8(packed, vdupq_n_u8(15)), vshrq_n_u8(packed, 4)};
}

// 16 in byte i where bit i of the two bytes is set.
inline uint8x16_t fifth_bits(const uint8_t* bits) {
  constexpr uint8_t kBits[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
  const uint8x16_t bytes = vcombine_u8(vdup_n_u8(bits[0]), vdup_n_u8(bits[1]));
  return vandq_u8(vtstq_u8(bytes, vld1q_u8(kBits)), vdupq_n_u8(16));
}

inline Quants five_bits(const uint8_t* qs, const uint8_t* qh, int zero) {
  const Nibbles n = nibbles(qs);
  return less(vorrq_u8(n.low, fifth_bits(qh)), vorrq_u8(n.high, fifth_bits(qh + 2)), zero);
}

inline Quants look_up(const uint8_t* qs, const int8_t* values) {
  const Nibbles n = nibbles(qs);
  const int8x16_t table = vld1q_s8(values);
  return {vqtbl1q_s8(table, n.low), vqtbl1q_s8(table, n.high)};
}

inline Quants quants(const BlockQ8_0& b) { return {vld1q_s8(b.qs), vld1q_s8(b.qs + 16)}; }
inline Quants quants(const BlockQ4_0& b) {
  const Nibbles n = nibbles(b.qs);
  return less(n.low, n.high, 8);
}
inline Quants quants(const BlockQ4_1& b) {
  const Nibbles n = nibbles(b.qs);
  return less(n.low, n.high, 0);
}
inline Quants quants(const BlockQ5_0& b) { return five_bits(b.qs, b.qh, 16); }
inline Quants quants(const BlockQ5_1& b) { return five_bits(b.qs, b.qh, 0); }
inline Quants quants(const BlockIQ4_NL& b) { return look_up(b.qs, kIQ4Values); }
inline Quants quants(const BlockMXFP4& b) { return look_up(b.qs, kFP4Doubled); }

template <class Block>
inline float scale_of(const Block& b) {
  return half_at(b.d);
}
inline float scale_of(const BlockMXFP4& b) { return e8m0_half(b.e); }

// Two running sums, because an FMA takes about four cycles and a block not many more.
template <class Block>
float mat_32(const void* row, const void* act, int64_t n) {
  const Block* b = static_cast<const Block*>(row);
  const auto* a = static_cast<const ActBlock*>(act);
  float32x4_t even = vdupq_n_f32(0.0f), odd = even;
  float rest = 0.0f;
  const auto add_block = [&](float32x4_t acc) {
    if constexpr (requires { b->m; }) rest += half_at(b->m) * a->d_sum;
    acc = add_scaled(acc, dot_32(quants(*b), *a), scale_of(*b) * a->d);
    ++b;
    ++a;
    return acc;
  };
  int64_t i = 0;
  for (; i + 64 <= n; i += 64) {
    even = add_block(even);
    odd = add_block(odd);
  }
  if (i < n) even = add_block(even);
  return vaddvq_f32(vaddq_f32(even, odd)) + rest;
}

// ---- types with 256

// Group g of Q4_K, and of Q5_K.
inline Quants quants(const BlockQ4_K& b, int g) {
  const uint8x16_t first = vld1q_u8(b.qs + g / 2 * 32), second = vld1q_u8(b.qs + g / 2 * 32 + 16);
  const uint8x16_t nibble = vdupq_n_u8(15);
  if (g % 2 == 0) return less(vandq_u8(first, nibble), vandq_u8(second, nibble), 0);
  return less(vshrq_n_u8(first, 4), vshrq_n_u8(second, 4), 0);
}
inline Quants quants(const BlockQ5_K& b, int g) {
  const uint8x16_t bit = vdupq_n_u8(static_cast<uint8_t>(1 << g)), sixteen = vdupq_n_u8(16), nibble = vdupq_n_u8(15);
  const auto half = [&](int i) {
    const uint8x16_t packed = vld1q_u8(b.qs + g / 2 * 32 + i);
    const uint8x16_t low = g % 2 == 0 ? vandq_u8(packed, nibble) : vshrq_n_u8(packed, 4);
    return vorrq_u8(low, vandq_u8(vtstq_u8(vld1q_u8(b.qh + i), bit), sixteen));
  };
  return less(half(0), half(16), 0);
}

// Q4_K and Q5_K
template <class Block>
float mat_k45(const void* row, const void* act, int64_t n) {
  const Block* b = static_cast<const Block*>(row);
  const auto* a = static_cast<const ActBlock*>(act);
  float32x4_t sums[2] = {vdupq_n_f32(0.0f), vdupq_n_f32(0.0f)};
  float below = 0.0f;
  for (int64_t i = 0; i < n; i += 256, ++b) {
    const float d = half_at(b->d);
    float mins = 0.0f;
    for (int g = 0; g < 8; ++g, ++a) {
      int scale = 0, min = 0;
      unpack_scale_min(b->scales, g, &scale, &min);
      sums[g % 2] = add_scaled(sums[g % 2], dot_32(quants(*b, g), *a), d * static_cast<float>(scale) * a->d);
      mins += static_cast<float>(min) * a->d_sum;
    }
    below += half_at(b->dmin) * mins;
  }
  return vaddvq_f32(vaddq_f32(sums[0], sums[1])) - below;
}

float mat_iq4_xs(const void* row, const void* act, int64_t n) {
  const auto* b = static_cast<const BlockIQ4_XS*>(row);
  const auto* a = static_cast<const ActBlock*>(act);
  float32x4_t sum = vdupq_n_f32(0.0f);
  for (int64_t i = 0; i < n; i += 256, ++b) {
    const float d = half_at(b->d);
    for (int g = 0; g < 8; ++g, ++a) {
      const int low = (b->scales_l[g / 2] >> (g % 2 * 4)) & 15, high = (b->scales_h >> (2 * g)) & 3;
      const float scale = d * static_cast<float>((low | high << 4) - 32) * a->d;
      sum = add_scaled(sum, dot_32(look_up(b->qs + g * 16, kIQ4Values), *a), scale);
    }
  }
  return vaddvq_f32(sum);
}

float mat_q6_k(const void* row, const void* act, int64_t n) {
  const auto* b = static_cast<const BlockQ6_K*>(row);
  const auto* a = static_cast<const ActBlock*>(act);
  const uint8x16_t nibble = vdupq_n_u8(15), top = vdupq_n_u8(48);
  float32x4_t sum = vdupq_n_f32(0.0f);
  for (int64_t i = 0; i < n; i += 256, ++b) {
    const float d = half_at(b->d);
    const int8_t* scales = b->scales;
    const auto add_group = [&](const Nibbles& low, uint8x16_t high0, uint8x16_t high1) {
      const Quants q = less(vorrq_u8(low.low, vandq_u8(high0, top)), vorrq_u8(low.high, vandq_u8(high1, top)), 32);
      // Scales are whole numbers, and multiplied in exactly.
      const int32x4_t first = dot_16(vdupq_n_s32(0), q.low, vld1q_s8(a->q));
      const int32x4_t second = dot_16(vdupq_n_s32(0), q.high, vld1q_s8(a->q + 16));
      sum = add_scaled(sum, vmlaq_n_s32(vmulq_n_s32(first, scales[0]), second, scales[1]), d * a->d);
      scales += 2;
      ++a;
    };
    for (int half = 0; half < 2; ++half) {
      const uint8_t* const ql = b->ql + half * 64;
      const uint8x16_t l0 = vld1q_u8(ql), l1 = vld1q_u8(ql + 16), l2 = vld1q_u8(ql + 32), l3 = vld1q_u8(ql + 48);
      const uint8x16_t h0 = vld1q_u8(b->qh + half * 32), h1 = vld1q_u8(b->qh + half * 32 + 16);
      add_group({vandq_u8(l0, nibble), vandq_u8(l1, nibble)}, vshlq_n_u8(h0, 4), vshlq_n_u8(h1, 4));
      add_group({vandq_u8(l2, nibble), vandq_u8(l3, nibble)}, vshlq_n_u8(h0, 2), vshlq_n_u8(h1, 2));
      add_group({vshrq_n_u8(l0, 4), vshrq_n_u8(l1, 4)}, h0, h1);
      add_group({vshrq_n_u8(l2, 4), vshrq_n_u8(l3, 4)}, vshrq_n_u8(h0, 2), vshrq_n_u8(h1, 2));
    }
  }
  return vaddvq_f32(sum);
}

// Those that have no kernel of their own: unpacked by the common code.
template <class Block>
float mat_256(const void* row, const void* act, int64_t n) {
  const Block* b = static_cast<const Block*>(row);
  const auto* a = static_cast<const ActBlock*>(act);
  float32x4_t sum = vdupq_n_f32(0.0f);
  float below = 0.0f;
  Group w;
  for (int64_t i = 0; i < n; i += 256, ++b) {
    for (int g = 0; g < 8; ++g, ++a) {
      unpack(*b, g, w);
      for (int h = 0; h < 2; ++h) {
        const int32x4_t q = dot_16(vdupq_n_s32(0), vld1q_s8(w.q + 16 * h), vld1q_s8(a->q + 16 * h));
        sum = add_scaled(sum, q, w.scale[h] * a->d);
        below += a->d * (w.min[h] * static_cast<float>(-a->minus_sum16[h]));
      }
    }
  }
  return vaddvq_f32(sum) - below;
}

template <Dot kDot>
void set(Kernels& table, Type type) {
  table.mat[static_cast<uint32_t>(type)].multiply = multiply_rows<kDot, true>;
}

inline void fill_neon_int8(Kernels& table) {
  set<mat_32<BlockQ4_0>>(table, Type::Q4_0);
  set<mat_32<BlockQ4_1>>(table, Type::Q4_1);
  set<mat_32<BlockQ5_0>>(table, Type::Q5_0);
  set<mat_32<BlockQ5_1>>(table, Type::Q5_1);
  set<mat_32<BlockQ8_0>>(table, Type::Q8_0);
  set<mat_32<BlockIQ4_NL>>(table, Type::IQ4_NL);
  set<mat_32<BlockMXFP4>>(table, Type::MXFP4);
  set<mat_k45<BlockQ4_K>>(table, Type::Q4_K);
  set<mat_k45<BlockQ5_K>>(table, Type::Q5_K);
  set<mat_q6_k>(table, Type::Q6_K);
  set<mat_iq4_xs>(table, Type::IQ4_XS);
  set<mat_256<BlockQ2_K>>(table, Type::Q2_K);
  set<mat_256<BlockQ3_K>>(table, Type::Q3_K);
  set<mat_256<BlockIQ2_XXS>>(table, Type::IQ2_XXS);
  set<mat_256<BlockIQ2_XS>>(table, Type::IQ2_XS);
  set<mat_256<BlockIQ2_S>>(table, Type::IQ2_S);
  set<mat_256<BlockIQ3_XXS>>(table, Type::IQ3_XXS);
  set<mat_256<BlockIQ3_S>>(table, Type::IQ3_S);
  set<mat_256<BlockIQ1_S>>(table, Type::IQ1_S);
  set<mat_256<BlockIQ1_M>>(table, Type::IQ1_M);
}

}  // namespace
}  // namespace pl

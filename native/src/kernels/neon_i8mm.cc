// Compiled with: -march=armv8.2-a+dotprod+i8mm
// Products with quantized matrices for aarch64 with smmla (FEAT_I8MM: in all of ARMv8.6), which multiplies two rows of eight
// bytes by two others: twice the products of an sdot. So two rows of weights lie in one vector, two tokens in another, and
// the four sums of a pair of each stand in the lanes r0t0 r0t1 r1t0 r1t1. Where one is alone, it stands there twice: a lane's
// arithmetic does not depend on the others, and a token's result not on its company.
#if defined(__aarch64__)

#include "neon_int8.h"
#include "panel_formats.h"

static_assert(__ARM_FEATURE_MATMUL_INT8 == 1);

namespace pl {
namespace {

constexpr int kRowPairs = 2;    // each pair of tokens, once put side by side, is used for so many
constexpr int kTokenPairs = 6;  // 12 totals, 8 vectors of weights, 4 of activations, 2 sums: of 32 registers

// 32 weights of one row; [1] of scales and minima only where Of<Block>::kHalves.
struct Group32 {
  Quants q;
  float scale[2], min[2];
};

template <class Block>
struct Of {
  static constexpr bool k256 = requires(const Block& b) { quants(b, 0); };
  static constexpr bool k32 = requires(const Block& b) { quants(b); };
  static constexpr int kGroups = k32 ? 1 : 8;
  static constexpr bool kHalves = !k32 && !k256;  // 16 weights to a scale
};
template <>
struct Of<BlockIQ4_XS> {
  static constexpr bool k256 = false, k32 = false, kHalves = false;
  static constexpr int kGroups = 8;
};

template <class Block>
PL_INLINE void take(const Block& b, int g, Group32& out) {
  if constexpr (Of<Block>::k32) {
    out.q = quants(b);
    out.scale[0] = scale_of(b);
    if constexpr (requires { b.m; }) out.min[0] = -half_at(b.m);
  } else if constexpr (Of<Block>::k256) {
    int scale = 0, min = 0;
    unpack_scale_min(b.scales, g, &scale, &min);
    out.q = quants(b, g);
    out.scale[0] = half_at(b.d) * static_cast<float>(scale);
    out.min[0] = half_at(b.dmin) * static_cast<float>(min);
  } else {
    Group w;
    unpack(b, g, w);
    out = {{vld1q_s8(w.q), vld1q_s8(w.q + 16)}, {w.scale[0], w.scale[1]}, {w.min[0], w.min[1]}};
  }
}
PL_INLINE void take(const BlockIQ4_XS& b, int g, Group32& out) {
  const int low = (b.scales_l[g / 2] >> (g % 2 * 4)) & 15, high = (b.scales_h >> (2 * g)) & 3;
  out.q = look_up(b.qs + g * 16, kIQ4Values);
  out.scale[0] = half_at(b.d) * static_cast<float>((low | high << 4) - 32);
}
PL_INLINE void take(const BlockQ6_K& b, int g, Group32& out) {
  const int half = g / 4, part = g % 4;
  const uint8_t* const ql = b.ql + half * 64 + part % 2 * 32;
  const int8x16_t down = vdupq_n_s8(static_cast<int8_t>(-(part / 2 * 4))), up = vdupq_n_s8(static_cast<int8_t>(4 - 2 * part));
  const auto six_bits = [&](int i) {
    const uint8x16_t low = vandq_u8(vshlq_u8(vld1q_u8(ql + i), down), vdupq_n_u8(15));
    return vorrq_u8(low, vandq_u8(vshlq_u8(vld1q_u8(b.qh + half * 32 + i), up), vdupq_n_u8(48)));
  };
  const float d = half_at(b.d);
  out.q = less(six_bits(0), six_bits(16), 32);
  for (int h = 0; h < 2; ++h) out.scale[h] = d * static_cast<float>(b.scales[2 * g + h]), out.min[h] = 0.0f;
}

// The halves of two vectors of 16 bytes, each half beside the other's.
PL_INLINE void side_by_side(int8x16_t a, int8x16_t b, int8x16_t* out) {
  const int64x2_t x = vreinterpretq_s64_s8(a), y = vreinterpretq_s64_s8(b);
  out[0] = vreinterpretq_s8_s64(vtrn1q_s64(x, y));
  out[1] = vreinterpretq_s8_s64(vtrn2q_s64(x, y));
}
// r0 r0 r1 r1, and t0 t1 t0 t1
PL_INLINE float32x4_t of_rows(float r0, float r1) { return vcombine_f32(vdup_n_f32(r0), vdup_n_f32(r1)); }
PL_INLINE float32x4_t of_tokens(float t0, float t1) {
  const float32x2_t both = vset_lane_f32(t1, vdup_n_f32(t0), 1);
  return vcombine_f32(both, both);
}

// A group of 32 weights of two rows.
struct RowPair {
  int8x16_t q[4];
  float32x4_t scale[2], min[2];
};

template <class Block>
PL_INLINE void take_pair(const Block& first, const Block& second, int g, RowPair& out) {
  Group32 a, b;
  a.min[0] = b.min[0] = 0.0f;
  take(first, g, a);
  take(second, g, b);
  side_by_side(a.q.low, b.q.low, out.q);
  side_by_side(a.q.high, b.q.high, out.q + 2);
  for (int h = 0; h < (Of<Block>::kHalves ? 2 : 1); ++h) {
    out.scale[h] = of_rows(a.scale[h], b.scale[h]);
    out.min[h] = of_rows(a.min[h], b.min[h]);
  }
}

// A pair of rows times a pair of tokens.
template <class Block>
PL_INLINE float32x4_t accumulate_pair(float32x4_t acc, const RowPair& w, const int8x16_t* q, const ActBlock& t0, const ActBlock& t1) {
  const int32x4_t zero = vdupq_n_s32(0), first = vmmlaq_s32(vmmlaq_s32(zero, w.q[0], q[0]), w.q[1], q[1]);
  const float32x4_t d = of_tokens(t0.d, t1.d);
  if constexpr (!Of<Block>::kHalves) {
    const int32x4_t sums = vmmlaq_s32(vmmlaq_s32(first, w.q[2], q[2]), w.q[3], q[3]);
    acc = vfmaq_f32(acc, vmulq_f32(vcvtq_f32_s32(sums), w.scale[0]), d);
    if constexpr (requires(const Block& b) { b.m; } || Of<Block>::k256) acc = vfmsq_f32(acc, w.min[0], of_tokens(t0.d_sum, t1.d_sum));
    return acc;
  } else {
    const int32x4_t second = vmmlaq_s32(vmmlaq_s32(zero, w.q[2], q[2]), w.q[3], q[3]);
    float32x4_t whole = vfmaq_f32(vmulq_f32(vcvtq_f32_s32(first), w.scale[0]), vcvtq_f32_s32(second), w.scale[1]);
    for (int h = 0; h < 2; ++h) {
      const auto sum = [h](const ActBlock& t) { return static_cast<float>(t.minus_sum16[h]); };
      whole = vfmaq_f32(whole, w.min[h], of_tokens(sum(t0), sum(t1)));
    }
    return vfmaq_f32(acc, whole, d);
  }
}

// Four rows, or fewer, times a tile of `width` tokens.
template <class Block, int kPairs>
void multiply_tile(const Product& m, int64_t r, const ActBlock* a, int64_t t, int64_t width) {
  const int64_t n_rows = m.rows - r < 2 * kRowPairs ? m.rows - r : 2 * kRowPairs;
  const Block* rows[2 * kRowPairs];
  for (int i = 0; i < 2 * kRowPairs; ++i) {
    rows[i] = reinterpret_cast<const Block*>(m.w + (r + (i < n_rows ? i : n_rows - 1)) * m.row_bytes);
  }
  float32x4_t acc[kPairs][kRowPairs];
  PL_UNROLL for (auto& pair : acc) {
    PL_UNROLL for (auto& four : pair) four = vdupq_n_f32(0.0f);
  }
  const int64_t last = width - 1;
  for (int64_t g = 0; g < m.cols / 32; ++g, a += width) {
    const int64_t block = g / Of<Block>::kGroups;
    const int in_block = static_cast<int>(g % Of<Block>::kGroups);
    RowPair w[kRowPairs];
    PL_UNROLL for (int p = 0; p < kRowPairs; ++p) take_pair(rows[2 * p][block], rows[2 * p + 1][block], in_block, w[p]);
    PL_UNROLL for (int p = 0; p < kPairs; ++p) {
      const ActBlock &t0 = a[2 * p], &t1 = a[2 * p < last ? 2 * p + 1 : last];
      int8x16_t q[4];
      side_by_side(vld1q_s8(t0.q), vld1q_s8(t1.q), q);
      side_by_side(vld1q_s8(t0.q + 16), vld1q_s8(t1.q + 16), q + 2);
      PL_UNROLL for (int i = 0; i < kRowPairs; ++i) acc[p][i] = accumulate_pair<Block>(acc[p][i], w[i], q, t0, t1);
    }
  }
  for (int64_t i = 0; i < width; ++i) {
    for (int64_t k = 0; k < n_rows; ++k) {
      float lanes[4];
      vst1q_f32(lanes, acc[i / 2][k / 2]);
      m.out[(t + i) * m.out_stride + r + k] = lanes[k % 2 * 2 + i % 2];
    }
  }
}

template <class Block>
void multiply_pairs(const Product& m) {
  for (int64_t r = 0; r < m.rows; r += 2 * kRowPairs) {
    for (int64_t t = 0; t < m.n; t += 2 * kTokenPairs) {
      const int64_t width = m.n - t < 2 * kTokenPairs ? m.n - t : 2 * kTokenPairs;
      unroll<1, kTokenPairs + 1>([&](auto pairs) {
        if ((width + 1) / 2 == pairs.value) multiply_tile<Block, pairs.value>(m, r, m.act + t * (m.cols / 32), t, width);
      });
    }
  }
}

}  // namespace

const Fill kFillNeonI8mm = [](Kernels& table) {
  const auto set = [&table](Type type, Multiply f) { table.mat[static_cast<uint32_t>(type)].multiply = f; };
  set(Type::Q4_0, multiply_pairs<BlockQ4_0>);
  set(Type::Q4_1, multiply_pairs<BlockQ4_1>);
  set(Type::Q5_0, multiply_pairs<BlockQ5_0>);
  set(Type::Q5_1, multiply_pairs<BlockQ5_1>);
  set(Type::Q8_0, multiply_pairs<BlockQ8_0>);
  set(Type::IQ4_NL, multiply_pairs<BlockIQ4_NL>);
  set(Type::MXFP4, multiply_pairs<BlockMXFP4>);
  set(Type::Q2_K, multiply_pairs<BlockQ2_K>);
  set(Type::Q3_K, multiply_pairs<BlockQ3_K>);
  set(Type::Q4_K, multiply_pairs<BlockQ4_K>);
  set(Type::Q5_K, multiply_pairs<BlockQ5_K>);
  set(Type::Q6_K, multiply_pairs<BlockQ6_K>);
  set(Type::IQ4_XS, multiply_pairs<BlockIQ4_XS>);
  set(Type::IQ2_XXS, multiply_pairs<BlockIQ2_XXS>);
  set(Type::IQ2_XS, multiply_pairs<BlockIQ2_XS>);
  set(Type::IQ2_S, multiply_pairs<BlockIQ2_S>);
  set(Type::IQ3_XXS, multiply_pairs<BlockIQ3_XXS>);
  set(Type::IQ3_S, multiply_pairs<BlockIQ3_S>);
  set(Type::IQ1_S, multiply_pairs<BlockIQ1_S>);
  set(Type::IQ1_M, multiply_pairs<BlockIQ1_M>);
  table.act_tile = 2 * kTokenPairs;
};

}  // namespace pl

#endif

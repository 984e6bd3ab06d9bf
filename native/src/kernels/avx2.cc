// Compiled with: -mavx2 -mfma -mf16c
// Kernels for x86-64 with AVX2, FMA and F16C: products with quantized matrices; those on floats are in
// avx2_float.h. This file alone gets the flags above (builds read that line). Everything but fill_avx2 is in nameless
// namespaces, and no header with external inline functions is used: nothing of this can reach other code.
//
// What bounds them: decoding streams the weights once, so memory does (Q4_0: 18 bytes for 32 weights). Within
// a cache it is the port of vpmaddubsw: a group of 32 takes one, and a vpmaddwd.
#if defined(__x86_64__)

#include "../quant/unpack.h"
#include "avx2_float.h"
#include "kernels.h"

namespace pl {
namespace {

inline int32_t add_up(__m128i v) {
  const __m128i two = _mm_add_epi32(v, _mm_unpackhi_epi64(v, v));
  return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 1)));
}

inline __m256i load32(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }

// Sums of four products each; lanes 0-3 come from bytes 0-15. u is 0..128, s is -127..127: pairs stay below
// 2^15.
inline __m256i dot_unsigned(__m256i u, __m256i s) {
  return _mm256_madd_epi16(_mm256_maddubs_epi16(u, s), _mm256_set1_epi16(1));
}
// The same for two signed vectors: the sign of the first is moved to the second.
inline __m256i dot_signed(__m256i w, __m256i s) {
  return dot_unsigned(_mm256_abs_epi8(w), _mm256_sign_epi8(s, w));
}

// A whole number in lane 0.
inline __m256i in_first(int32_t n) { return _mm256_zextsi128_si256(_mm_cvtsi32_si128(n)); }

// ---- types with 32 elements to a block: whole numbers, multiplied and added, four to a lane

inline __m256i nibbles(const uint8_t* qs) {
  const __m128i packed = load16(qs);
  return _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(packed, 4), packed), _mm256_set1_epi8(15));
}

// 16 in byte i where bit i of the four bytes is set.
inline __m256i fifth_bits(const uint8_t* qh) {
  int32_t bits = 0;
  __builtin_memcpy(&bits, qh, 4);
  const __m256i byte_of = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
  const __m256i bit_of = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201));
  const __m256i there = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(bits), byte_of), bit_of);
  return _mm256_and_si256(_mm256_cmpeq_epi8(there, bit_of), _mm256_set1_epi8(16));
}

inline __m256i look_up(const uint8_t* qs, const int8_t* values) {
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(load16(values)), nibbles(qs));
}

inline __m256i whole(const BlockQ8_0& b, const ActBlock& a) { return dot_signed(load32(b.qs), load32(a.q)); }
inline __m256i whole(const BlockQ4_0& b, const ActBlock& a) {  // q is 8 too high: what that adds is known
  return _mm256_add_epi32(dot_unsigned(nibbles(b.qs), load32(a.q)), in_first(-8 * a.sum));
}
inline __m256i whole(const BlockQ4_1& b, const ActBlock& a) {
  return dot_unsigned(nibbles(b.qs), load32(a.q));
}
inline __m256i whole(const BlockQ5_0& b, const ActBlock& a) {
  const __m256i q = _mm256_or_si256(nibbles(b.qs), fifth_bits(b.qh));
  return _mm256_add_epi32(dot_unsigned(q, load32(a.q)), in_first(-16 * a.sum));
}
inline __m256i whole(const BlockQ5_1& b, const ActBlock& a) {
  return dot_unsigned(_mm256_or_si256(nibbles(b.qs), fifth_bits(b.qh)), load32(a.q));
}
inline __m256i whole(const BlockIQ4_NL& b, const ActBlock& a) {
  return dot_signed(look_up(b.qs, kIQ4Values), load32(a.q));
}
inline __m256i whole(const BlockMXFP4& b, const ActBlock& a) {
  return dot_signed(look_up(b.qs, kFP4Doubled), load32(a.q));
}

template <class Block>
inline float scale_of(const Block& b) {
  return half_at(b.d);
}
inline float scale_of(const BlockMXFP4& b) { return e8m0_half(b.e); }

// Two running sums, because an FMA takes four cycles and a block not many more.
template <class Block>
float mat_32(const void* row, const void* act, int64_t n) {
  const Block* b = static_cast<const Block*>(row);
  const auto* a = static_cast<const ActBlock*>(act);
  __m256 even = _mm256_setzero_ps(), odd = _mm256_setzero_ps();
  float rest = 0.0f;
  const auto add_block = [&](__m256 sum) {
    if constexpr (requires { b->m; }) rest += half_at(b->m) * (a->d * static_cast<float>(a->sum));
    sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(whole(*b, *a)), _mm256_set1_ps(scale_of(*b) * a->d), sum);
    ++b;
    ++a;
    return sum;
  };
  int64_t i = 0;
  for (; i + 64 <= n; i += 64) {
    even = add_block(even);
    odd = add_block(odd);
  }
  if (i < n) even = add_block(even);
  return add_up(_mm256_add_ps(even, odd)) + rest;
}

// ---- types with 256

// Four scales or minima at once; see unpack_scale_min.
struct KScales {
  uint8_t scale[8], min[8];
};
inline KScales unpack_k_scales(const uint8_t* packed) {
  uint32_t a = 0, m = 0, both = 0;
  __builtin_memcpy(&a, packed, 4);
  __builtin_memcpy(&m, packed + 4, 4);
  __builtin_memcpy(&both, packed + 8, 4);
  const uint32_t words[4] = {a & 0x3F3F3F3Fu, (both & 0x0F0F0F0Fu) | (a >> 2 & 0x30303030u), m & 0x3F3F3F3Fu,
                             (both >> 4 & 0x0F0F0F0Fu) | (m >> 2 & 0x30303030u)};
  KScales out;
  __builtin_memcpy(out.scale, words, 8);
  __builtin_memcpy(out.min, words + 2, 8);
  return out;
}

// 16 in byte i where bit g of qh[i] is set.
inline __m256i high_bits(const BlockQ4_K&, int) { return _mm256_setzero_si256(); }
inline __m256i high_bits(const BlockQ5_K& b, int g) {
  const __m256i bit = _mm256_set1_epi8(static_cast<char>(1 << g));
  const __m256i there = _mm256_cmpeq_epi8(_mm256_and_si256(load32(b.qh), bit), bit);
  return _mm256_and_si256(there, _mm256_set1_epi8(16));
}

// Q4_K and Q5_K
template <class Block>
float mat_k45(const void* row, const void* act, int64_t n) {
  const Block* b = static_cast<const Block*>(row);
  const auto* a = static_cast<const ActBlock*>(act);
  const __m256i nibble = _mm256_set1_epi8(15);
  __m256 even = _mm256_setzero_ps(), odd = _mm256_setzero_ps();
  float below = 0.0f;
  for (int64_t i = 0; i < n; i += 256, ++b, a += 8) {
    const KScales k = unpack_k_scales(b->scales);
    const float d = half_at(b->d);
    float mins = 0.0f;
    for (int g = 0; g < 8; g += 2) {
      const __m256i packed = load32(b->qs + g * 16);
      const __m256i low = _mm256_or_si256(_mm256_and_si256(packed, nibble), high_bits(*b, g));
      const __m256i high =
          _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(packed, 4), nibble), high_bits(*b, g + 1));
      const __m256 first = _mm256_cvtepi32_ps(dot_unsigned(low, load32(a[g].q)));
      const __m256 second = _mm256_cvtepi32_ps(dot_unsigned(high, load32(a[g + 1].q)));
      even = _mm256_fmadd_ps(first, _mm256_set1_ps(d * static_cast<float>(k.scale[g]) * a[g].d), even);
      odd = _mm256_fmadd_ps(second, _mm256_set1_ps(d * static_cast<float>(k.scale[g + 1]) * a[g + 1].d), odd);
      mins += static_cast<float>(k.min[g] * a[g].sum) * a[g].d;
      mins += static_cast<float>(k.min[g + 1] * a[g + 1].sum) * a[g + 1].d;
    }
    below += half_at(b->dmin) * mins;
  }
  return add_up(_mm256_add_ps(even, odd)) - below;
}

float mat_iq4_xs(const void* row, const void* act, int64_t n) {
  const auto* b = static_cast<const BlockIQ4_XS*>(row);
  const auto* a = static_cast<const ActBlock*>(act);
  __m256 sum = _mm256_setzero_ps();
  for (int64_t i = 0; i < n; i += 256, ++b) {
    const float d = half_at(b->d);
    for (int g = 0; g < 8; ++g, ++a) {
      const int low = (b->scales_l[g / 2] >> (g % 2 * 4)) & 15, high = (b->scales_h >> (2 * g)) & 3;
      const float scale = d * static_cast<float>((low | high << 4) - 32) * a->d;
      const __m256i q = dot_signed(look_up(b->qs + g * 16, kIQ4Values), load32(a->q));
      sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(q), _mm256_set1_ps(scale), sum);
    }
  }
  return add_up(sum);
}

float mat_q6_k(const void* row, const void* act, int64_t n) {
  const auto* b = static_cast<const BlockQ6_K*>(row);
  const auto* a = static_cast<const ActBlock*>(act);
  const __m256i nibble = _mm256_set1_epi8(15), top = _mm256_set1_epi8(48);
  __m256 sum = _mm256_setzero_ps();
  for (int64_t i = 0; i < n; i += 256, ++b) {
    const float d = half_at(b->d);
    const int8_t* scales = b->scales;
    const auto add_group = [&](__m256i low, __m256i high) {
      const __m256i q = _mm256_or_si256(_mm256_and_si256(low, nibble), _mm256_and_si256(high, top));
      const __m256i scale = _mm256_set_m128i(_mm_set1_epi16(scales[1]), _mm_set1_epi16(scales[0]));
      // Pairs are at most 63 * 127 * 2 = 16002, so that scales can be multiplied in exactly. q is 32 too
      // high.
      const __m256i whole = _mm256_madd_epi16(_mm256_maddubs_epi16(q, load32(a->q)), scale);
      const int32_t zero = -32 * (scales[0] * a->sum16[0] + scales[1] * a->sum16[1]);
      sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(_mm256_add_epi32(whole, in_first(zero))),
                            _mm256_set1_ps(d * a->d), sum);
      scales += 2;
      ++a;
    };
    for (int half = 0; half < 2; ++half) {
      const __m256i low0 = load32(b->ql + half * 64), low1 = load32(b->ql + half * 64 + 32);
      const __m256i high = load32(b->qh + half * 32);
      add_group(low0, _mm256_slli_epi16(high, 4));
      add_group(low1, _mm256_slli_epi16(high, 2));
      add_group(_mm256_srli_epi16(low0, 4), high);
      add_group(_mm256_srli_epi16(low1, 4), _mm256_srli_epi16(high, 2));
    }
  }
  return add_up(sum);
}

// Those that have no kernel of their own: unpacked by the common code, compiled here for AVX2.
template <class Block>
float mat_256(const void* row, const void* act, int64_t n) {
  const Block* b = static_cast<const Block*>(row);
  const auto* a = static_cast<const ActBlock*>(act);
  __m256 sum = _mm256_setzero_ps();
  float below = 0.0f;
  Group w;
  for (int64_t i = 0; i < n; i += 256, ++b) {
    for (int g = 0; g < 8; ++g, ++a) {
      unpack(*b, g, w);
      const __m256 q = _mm256_cvtepi32_ps(dot_signed(load32(w.q), load32(a->q)));
      const __m256 scale = _mm256_set_m128(_mm_set1_ps(w.scale[1] * a->d), _mm_set1_ps(w.scale[0] * a->d));
      sum = _mm256_fmadd_ps(q, scale, sum);
      below +=
          a->d * (w.min[0] * static_cast<float>(a->sum16[0]) + w.min[1] * static_cast<float>(a->sum16[1]));
    }
  }
  return add_up(sum) - below;
}

void quantize_act(const float* x, ActBlock* out, int64_t n) {
  const __m256i magnitude = _mm256_set1_epi32(0x7FFFFFFF);
  for (const float* const end = x + n; x < end; x += 32, ++out) {
    __m256 v[4];
    __m256i most = _mm256_setzero_si256();
    for (int k = 0; k < 4; ++k) {
      v[k] = _mm256_loadu_ps(x + 8 * k);
      most = _mm256_max_epi32(most, _mm256_and_si256(_mm256_castps_si256(v[k]), magnitude));
    }
    __m128i m = _mm_max_epi32(_mm256_castsi256_si128(most), _mm256_extracti128_si256(most, 1));
    m = _mm_max_epi32(m, _mm_unpackhi_epi64(m, m));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 1));
    const int32_t bits = _mm_cvtsi128_si32(m);
    const float largest = _mm_cvtss_f32(_mm_castsi128_ps(m));
    const bool finite = bits < 0x7F800000;
    if (!finite || !(largest >= 1e-30f)) {  // as in scalar.cc
      *out = {finite ? 0.0f : __builtin_nanf(""), 0, {0, 0}, {}};
      continue;
    }
    const __m256 inverse = _mm256_set1_ps(127.0f / largest);
    __m256i q[4];
    for (int k = 0; k < 4; ++k) q[k] = _mm256_cvtps_epi32(_mm256_mul_ps(v[k], inverse));
    // Packing works within 128 bits; the permutation puts the fours in order again.
    const __m256i bytes = _mm256_permutevar8x32_epi32(
        _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3])),
        _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    const __m256i sums = dot_unsigned(_mm256_set1_epi8(1), bytes);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out->q), bytes);
    out->d = largest / 127.0f;
    out->sum16[0] = static_cast<int16_t>(add_up(_mm256_castsi256_si128(sums)));
    out->sum16[1] = static_cast<int16_t>(add_up(_mm256_extracti128_si256(sums, 1)));
    out->sum = out->sum16[0] + out->sum16[1];
  }
}

}  // namespace

void fill_avx2(Kernels& table) {
  const auto set = [&table](Type type, Dot dot) { table.mat[static_cast<uint32_t>(type)].dot = dot; };
  set(Type::Q4_0, mat_32<BlockQ4_0>);
  set(Type::Q4_1, mat_32<BlockQ4_1>);
  set(Type::Q5_0, mat_32<BlockQ5_0>);
  set(Type::Q5_1, mat_32<BlockQ5_1>);
  set(Type::Q8_0, mat_32<BlockQ8_0>);
  set(Type::IQ4_NL, mat_32<BlockIQ4_NL>);
  set(Type::MXFP4, mat_32<BlockMXFP4>);
  set(Type::Q4_K, mat_k45<BlockQ4_K>);
  set(Type::Q5_K, mat_k45<BlockQ5_K>);
  set(Type::Q6_K, mat_q6_k);
  set(Type::IQ4_XS, mat_iq4_xs);
  set(Type::Q2_K, mat_256<BlockQ2_K>);
  set(Type::Q3_K, mat_256<BlockQ3_K>);
  set(Type::IQ2_XXS, mat_256<BlockIQ2_XXS>);
  set(Type::IQ2_XS, mat_256<BlockIQ2_XS>);
  set(Type::IQ2_S, mat_256<BlockIQ2_S>);
  set(Type::IQ3_XXS, mat_256<BlockIQ3_XXS>);
  set(Type::IQ3_S, mat_256<BlockIQ3_S>);
  set(Type::IQ1_S, mat_256<BlockIQ1_S>);
  set(Type::IQ1_M, mat_256<BlockIQ1_M>);
  table.quantize_act = quantize_act;
  fill_avx2_float(table);
}

}  // namespace pl

#endif

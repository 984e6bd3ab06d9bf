// A vector of AVX2 for panel_formats.h and panel_products.h: 8 rows, with VNNI's dot product where the file is compiled
// for it. To be included by files of kernels only.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "inlining.h"

namespace pl {
namespace {

// The sum of each vector's lanes, ((0 + 2) + (1 + 3)), to out[0..4).
inline void put_four_sums(float* out, __m128 a, __m128 b, __m128 c, __m128 d) {
  const __m128 ab = _mm_add_ps(_mm_unpacklo_ps(a, b), _mm_unpackhi_ps(a, b));  // a02, b02, a13, b13
  const __m128 cd = _mm_add_ps(_mm_unpacklo_ps(c, d), _mm_unpackhi_ps(c, d));
  _mm_storeu_ps(out, _mm_add_ps(_mm_movelh_ps(ab, cd), _mm_movehl_ps(cd, ab)));
}

struct Avx2 {
  using I = __m256i;
  using F = __m256;
  static constexpr int kRows = 8;
#if defined(__AVXVNNI__)
  static constexpr bool kDot = true;
  static I dot(I sum, I w, I a) { return _mm256_dpbusd_avx_epi32(sum, w, a); }
  static constexpr int kTile = 6;  // tokens: 6 sums, 6 totals, a weight and an activation: 14 of 16 registers
#elif defined(POCKETLLAMA_EMULATED_VNNI)
  static constexpr bool kDot = true;
  static I dot(I sum, I w, I a) {
    const I low = _mm256_set1_epi16(255);
    const I even = _mm256_madd_epi16(_mm256_and_si256(w, low), _mm256_srai_epi16(_mm256_slli_epi16(a, 8), 8));
    const I odd = _mm256_madd_epi16(_mm256_srli_epi16(w, 8), _mm256_srai_epi16(a, 8));
    return _mm256_add_epi32(sum, _mm256_add_epi32(even, odd));
  }
  static constexpr int kTile = 6;
#else
  static constexpr bool kDot = false;
  // Tokens: see kPanels. A tile less to compile for sanitizers, which take minutes over this file.
#if defined(POCKETLLAMA_FEWER_KERNELS)
  static constexpr int kTile = 3;
#else
  static constexpr int kTile = 4;
#endif
#endif
  // Panels that a tile passes over together, with totals in memory: eight sums, two weights, an activation and a product stay
  // in registers, and an activation is loaded for 16 rows, not for 8. With VNNI never measured.
  static constexpr int kPanels = kDot ? 1 : 2;
  static void in_memory(F& a) { __asm__("" : "+m"(a)); }
  // Tokens: with more than two, weights leave the registers between their uses, which in the caches takes as long as an array,
  // but from memory less: it is read meanwhile.
#if defined(POCKETLLAMA_FEWER_KERNELS)
  static constexpr int kFew = 2;
#else
  static constexpr int kFew = kDot ? 2 : 4;  // with VNNI never measured
#endif
  // What becomes of a format's kFew: here all that have one are alike.
  static constexpr int few(int of_format) { return of_format == 0 ? 0 : kFew; }

  static constexpr int kQueries = 3;  // that attend together: four sums each

  static I bytes(int x) { return _mm256_set1_epi8(static_cast<char>(x)); }
  static I ints(int x) { return _mm256_set1_epi32(x); }
  static I ints_at(const void* p) {
    int32_t x;
    __builtin_memcpy(&x, p, 4);
    return _mm256_set1_epi32(x);
  }
  static F floats(float x) { return _mm256_set1_ps(x); }
  static F floats_at(const float* p) { return _mm256_set1_ps(*p); }
  static I load_ints(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
  static F load_floats(const float* p) { return _mm256_loadu_ps(p); }

  static I bit_and(I a, I b) { return _mm256_and_si256(a, b); }
  static I bit_or(I a, I b) { return _mm256_or_si256(a, b); }
  static I bit_xor(I a, I b) { return _mm256_xor_si256(a, b); }
  static I add(I a, I b) { return _mm256_add_epi32(a, b); }
  static I subtract(I a, I b) { return _mm256_sub_epi32(a, b); }
  static I multiply(I a, I b) { return _mm256_mullo_epi32(a, b); }
  // In 16 bits: the low halves of products, and of sums; pairs of products of an unsigned and a signed byte, and their
  // sums in 32 bits.
  static I words(int x) { return _mm256_set1_epi16(static_cast<int16_t>(x)); }
  static I multiply16(I a, I b) { return _mm256_mullo_epi16(a, b); }
  static I add16(I a, I b) { return _mm256_add_epi16(a, b); }
  static I pair_products(I w, I a) { return _mm256_maddubs_epi16(w, a); }
  static I dot16(I a, I b) { return _mm256_madd_epi16(a, b); }
  static I widen(I pairs) { return dot16(pairs, words(1)); }
  // Byte kByte of each lane, signed, as both of the lane's numbers of 16 bits.
  template <int kByte>
  static I twice16(I a) { return twice16<kByte, kByte>(a); }
  // The same of one byte in the low half and of another in the high one.
  template <int kLow, int kHigh>
  static I twice16(I a) { return _mm256_srai_epi16(_mm256_shuffle_epi8(a, _mm256_setr_m128i(to_top(kLow), to_top(kHigh))), 8); }
  static __m128i to_top(int byte) {
    const int both = 0x00800080 | byte << 8 | byte << 24;  // an index of 128 and more is a zero
    return _mm_setr_epi32(both, both + 0x04000400, both + 0x08000800, both + 0x0C000C00);
  }
  // Of bytes; b's where a is negative is -b.
  static I magnitude(I a) { return _mm256_abs_epi8(a); }
  static I with_sign_of(I a, I b) { return _mm256_sign_epi8(b, a); }
  // Whole numbers may be added in any order, and GCC chooses one that keeps all products until the end, in memory.
  static I in_order(I a) {
    __asm__("" : "+x"(a));
    return a;
  }
  template <int kBits>
  static I shift_left(I a) { return _mm256_slli_epi32(a, kBits); }
  template <int kBits>
  static I shift_right(I a) { return _mm256_srli_epi32(a, kBits); }
  template <int kBits>
  static I shift_right_signed(I a) { return _mm256_srai_epi32(a, kBits); }
  // (high : low) >> kBits
  template <int kBits>
  static I funnel(I low, I high) {
    return _mm256_or_si256(_mm256_srli_epi32(low, kBits), _mm256_slli_epi32(high, 32 - kBits));
  }
  static I select_less(I a, I b, I yes, I no) { return _mm256_blendv_epi8(no, yes, _mm256_cmpgt_epi32(b, a)); }
  // values[n] for each byte n of 0..15
  static I look_up(const int8_t* values, I n) {
    const __m128i table = _mm_loadu_si128(reinterpret_cast<const __m128i*>(values));
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), n);
  }

  static F as_float(I a) { return _mm256_castsi256_ps(a); }
  static F to_float(I a) { return _mm256_cvtepi32_ps(a); }
  static F high_half(I a) { return packed_halves(_mm256_srli_epi32(a, 16)); }
  static F low_half(I a) { return packed_halves(_mm256_and_si256(a, _mm256_set1_epi32(0xFFFF))); }
  static F packed_halves(I a) {
    const I packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(a, a), 0x08);
    return _mm256_cvtph_ps(_mm256_castsi256_si128(packed));
  }
  static F negate(F a) { return _mm256_sub_ps(_mm256_setzero_ps(), a); }
  static F multiply(F a, F b) { return _mm256_mul_ps(a, b); }
  static F multiply_add(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  static F subtract_product(F c, F a, F b) { return _mm256_fnmadd_ps(a, b, c); }

  static F add(F a, F b) { return _mm256_add_ps(a, b); }
  static F subtract(F a, F b) { return _mm256_sub_ps(a, b); }
  static F divide(F a, F b) { return _mm256_div_ps(a, b); }
  static F max(F a, F b) { return _mm256_max_ps(a, b); }
  static F min(F a, F b) { return _mm256_min_ps(a, b); }
  static F round(F a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static I to_int(F a) { return _mm256_cvtps_epi32(a); }
  static float first(F a) { return _mm256_cvtss_f32(a); }
  static float highest(F a) {
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
  }

  static F load_some(const float* p, int64_t n) {
    return n >= kRows ? _mm256_loadu_ps(p) : _mm256_maskload_ps(p, lanes_below(n));
  }
  static void store_some(float* p, F a, int64_t n) {
    if (n >= kRows) _mm256_storeu_ps(p, a);
    else _mm256_maskstore_ps(p, lanes_below(n), a);
  }
  static I lanes_below(int64_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }

  // Neighbours within a row.
  static constexpr int kFloatRows = 4, kFloatTile = 3;  // 12 sums, 3 activations, 1 weight
  static constexpr int kFloatRowsAlone = 8;             // an FMA takes four cycles, and two may begin in each
  // Of rows that stay in the second cache while tokens pass: most of one of 256 KiB, the smallest there is.
  static constexpr int64_t kFloatBytes = int64_t{192} << 10;
  static __m128i load_halves(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
  static F load_row(const float* p) { return _mm256_loadu_ps(p); }
  static F load_row(const Half* p) { return _mm256_cvtph_ps(load_halves(p)); }
  static F load_row(const BrainHalf* p) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load_halves(p)), 16));
  }
  template <class Weight>
  static F load_row_some(const Weight* p, int64_t n) {
    Weight copy[kRows] = {};
    __builtin_memcpy(copy, p, static_cast<size_t>(n) * sizeof(Weight));
    return load_row(copy);
  }
  static __m128 halves_added(F a) { return _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1)); }
  static float add_up(F a) {
    const __m128 four = halves_added(a);
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
  // add_up of four, to out[0..4): the order of additions is the same.
  static void put_four(float* out, F a, F b, F c, F d) {
    put_four_sums(out, halves_added(a), halves_added(b), halves_added(c), halves_added(d));
  }

  // 16 bytes of each of 8 rows become four columns of 32 bits. Lane L of z[j] is row 4L + j, so that the transposition
  // within lanes leaves the rows in order.
  static I two_rows(const uint8_t* low, const uint8_t* high) {
    const auto at = [](const uint8_t* q) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(q)); };
    return _mm256_inserti128_si256(_mm256_castsi128_si256(at(low)), at(high), 1);
  }
  // Two pointers, and what addresses can hold: where GCC sees the same rows being read again a little further on, it keeps
  // every row's every address, in memory.
  static void keep(const uint8_t*& low, const uint8_t*& high) { __asm__("" : "+r"(low), "+r"(high)); }
  static void load_columns(const uint8_t* p, int64_t stride, I* out) {
    const uint8_t* q = p + 4 * stride;
    keep(p, q);
    const I z0 = two_rows(p, q), z1 = two_rows(p + stride, q + stride);
    const I z2 = two_rows(p + 2 * stride, q + 2 * stride), z3 = two_rows(p + 3 * stride, q + 3 * stride);
    const I a = _mm256_unpacklo_epi32(z0, z1), b = _mm256_unpacklo_epi32(z2, z3);
    const I c = _mm256_unpackhi_epi32(z0, z1), d = _mm256_unpackhi_epi32(z2, z3);
    out[0] = _mm256_unpacklo_epi64(a, b);
    out[1] = _mm256_unpackhi_epi64(a, b);
    out[2] = _mm256_unpacklo_epi64(c, d);
    out[3] = _mm256_unpackhi_epi64(c, d);
  }

  // Few tokens: a panel's rows lie apart, so that each lane reads a long stream of its own, as processors like to prefetch. Measured
  // on an EPYC with 8 rows: 36 GB/s for Q8_0, and 29 with rows that are neighbours.
  static constexpr bool kApart = true;
  // A few more tokens: weights are asked for while others are multiplied.
  static constexpr bool kAsks = true;
  // One token, row by row (row_products.h).
  static constexpr bool kByRows = true;
  static I same_halves_at(const int8_t* p) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  // The sum of each half of z[j] to lane j of that half: rows in order.
  static I sums_of_rows(const I* z) {
    const I a = add(_mm256_unpacklo_epi32(z[0], z[1]), _mm256_unpackhi_epi32(z[0], z[1]));
    const I b = add(_mm256_unpacklo_epi32(z[2], z[3]), _mm256_unpackhi_epi32(z[2], z[3]));
    return add(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
  }
  // The same of the two halves of each 32 bits: eight sums of up to 16 bits, widened.
  static I sums_of_rows16(const I* z) { return widen(fold64(fold32(z[0], z[1]), fold32(z[2], z[3]))); }
  // In each half: a's lanes 0 + 2 and 1 + 3, between b's.
  static I fold32(I a, I b) { return add16(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b)); }
  // In each half: a's lanes 0 + 2 and 1 + 3, and b's behind them.
  static I fold64(I a, I b) { return add16(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b)); }

  // A row in a whole vector, 16 weights to a half (row_products_q6_k.h).
  static I low_halves(I a) { return _mm256_permute2x128_si256(a, a, 0x00); }
  static I high_halves(I a) { return _mm256_permute2x128_si256(a, a, 0x11); }
  // 32 bits in all lanes of the low half, and 32 others in the high one.
  static I in_halves(const void* low, const void* high) { return _mm256_blend_epi32(ints_at(low), ints_at(high), 0xF0); }
  // low's halves added up, and high's behind them.
  static I add_halves(I low, I high) {
    return add(_mm256_blend_epi32(low, high, 0xF0), _mm256_permute2x128_si256(low, high, 0x21));
  }
  // A half of each row. Of each 16 bytes are read: an instruction that interleaves reads as it goes, and nothing is put
  // together in integer registers.
  static F halves_of_rows(const uint8_t* low, const uint8_t* high, int64_t stride) {
    const auto at = [stride](const uint8_t* p, int row) { return load_halves(p + row * stride); };
    const auto four = [&](const uint8_t* p) {
      return _mm_unpacklo_epi32(_mm_unpacklo_epi16(at(p, 0), at(p, 1)), _mm_unpacklo_epi16(at(p, 2), at(p, 3)));
    };
    return _mm256_cvtph_ps(_mm_unpacklo_epi64(four(low), four(high)));
  }
};

}  // namespace
}  // namespace pl

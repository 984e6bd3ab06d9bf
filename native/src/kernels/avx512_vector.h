// A vector of AVX-512 for panel_formats.h and panel_products.h: 16 rows, with VNNI's dot product where the file is
// compiled for it. To be included by files of kernels only.
#pragma once

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // in GCC 12's own header, PR105593
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>

#include <cstdint>

#include "avx2_vector.h"
#include "inlining.h"

namespace pl {
namespace {

struct Avx512 {
  using I = __m512i;
  using F = __m512;
  static constexpr int kRows = 16;
#if defined(__AVX512VNNI__)
  static constexpr bool kDot = true;
  static I dot(I sum, I w, I a) { return _mm512_dpbusd_epi32(sum, w, a); }
#if defined(POCKETLLAMA_FEWER_KERNELS)
  static constexpr int kFew = 2;
#else
  static constexpr int kFew = 8;  // tokens: 8 vectors of weights stay in registers beside sums and totals
#endif
#else
  static constexpr bool kDot = false;
  static constexpr int kFew = 1;  // more would fit, and take longer to compile than these machines are worth
#endif
#if defined(POCKETLLAMA_FEWER_KERNELS)  // under sanitizers, where compiling them all takes minutes
  static constexpr int kTile = 3;
#else
  static constexpr int kTile = 12;  // tokens: 12 sums, 12 totals, weights and what is in between: 32 registers
#endif

  static constexpr int few(int of_format) { return of_format < kFew ? of_format : kFew; }

  static constexpr int kQueries = 6;  // that attend together: four sums each

  static I bytes(int x) { return _mm512_set1_epi8(static_cast<char>(x)); }
  static I ints(int x) { return _mm512_set1_epi32(x); }
  static I ints_at(const void* p) {
    int32_t x;
    __builtin_memcpy(&x, p, 4);
    return _mm512_set1_epi32(x);
  }
  static F floats(float x) { return _mm512_set1_ps(x); }
  static F floats_at(const float* p) { return _mm512_set1_ps(*p); }
  static I load_ints(const void* p) { return _mm512_loadu_si512(p); }
  static F load_floats(const float* p) { return _mm512_loadu_ps(p); }

  static I bit_and(I a, I b) { return _mm512_and_si512(a, b); }
  static I bit_or(I a, I b) { return _mm512_or_si512(a, b); }
  static I bit_xor(I a, I b) { return _mm512_xor_si512(a, b); }
  static I add(I a, I b) { return _mm512_add_epi32(a, b); }
  static I subtract(I a, I b) { return _mm512_sub_epi32(a, b); }
  static I multiply(I a, I b) { return _mm512_mullo_epi32(a, b); }
  // As in avx2_vector.h.
  static I words(int x) { return _mm512_set1_epi16(static_cast<int16_t>(x)); }
  static I multiply16(I a, I b) { return _mm512_mullo_epi16(a, b); }
  static I add16(I a, I b) { return _mm512_add_epi16(a, b); }
  static I pair_products(I w, I a) { return _mm512_maddubs_epi16(w, a); }
  static I dot16(I a, I b) { return _mm512_madd_epi16(a, b); }
  static I widen(I pairs) { return dot16(pairs, words(1)); }
  template <int kByte>
  static I twice16(I a) {
    constexpr int kTop = 0x00800080 | kByte << 8 | kByte << 24;  // an index of 128 and more is a zero
    const __m128i lanes = _mm_setr_epi32(kTop, kTop + 0x04000400, kTop + 0x08000800, kTop + 0x0C000C00);
    return _mm512_srai_epi16(_mm512_shuffle_epi8(a, _mm512_broadcast_i32x4(lanes)), 8);
  }
  static I magnitude(I a) { return _mm512_abs_epi8(a); }
  static I with_sign_of(I a, I b) { return _mm512_mask_sub_epi8(b, _mm512_movepi8_mask(a), bytes(0), b); }
  static I in_order(I a) {
#if !defined(POCKETLLAMA_EMULATED_AVX512)
    __asm__("" : "+v"(a));
#endif
    return a;
  }
  template <int kBits>
  static I shift_left(I a) { return _mm512_slli_epi32(a, kBits); }
  template <int kBits>
  static I shift_right(I a) { return _mm512_srli_epi32(a, kBits); }
  template <int kBits>
  static I shift_right_signed(I a) { return _mm512_srai_epi32(a, kBits); }
  // (high : low) >> kBits
  template <int kBits>
  static I funnel(I low, I high) {
    return _mm512_or_si512(_mm512_srli_epi32(low, kBits), _mm512_slli_epi32(high, 32 - kBits));
  }
  static I select_less(I a, I b, I yes, I no) { return _mm512_mask_blend_epi32(_mm512_cmplt_epi32_mask(a, b), no, yes); }
  // values[n] for each byte n of 0..15
  static I look_up(const int8_t* values, I n) {
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(values))), n);
  }

  static F as_float(I a) { return _mm512_castsi512_ps(a); }
  static F to_float(I a) { return _mm512_cvtepi32_ps(a); }
  static F low_half(I a) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(a)); }
  static F high_half(I a) { return low_half(_mm512_srli_epi32(a, 16)); }
  static F negate(F a) { return _mm512_sub_ps(_mm512_setzero_ps(), a); }
  static F multiply(F a, F b) { return _mm512_mul_ps(a, b); }
  static F multiply_add(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  static F subtract_product(F c, F a, F b) { return _mm512_fnmadd_ps(a, b, c); }

  static F add(F a, F b) { return _mm512_add_ps(a, b); }
  static F subtract(F a, F b) { return _mm512_sub_ps(a, b); }
  static F divide(F a, F b) { return _mm512_div_ps(a, b); }
  static F max(F a, F b) { return _mm512_max_ps(a, b); }
  static F min(F a, F b) { return _mm512_min_ps(a, b); }
  static F round(F a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static I to_int(F a) { return _mm512_cvtps_epi32(a); }
  static float first(F a) { return _mm512_cvtss_f32(a); }
  static float highest(F a) {
    const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
  }

  static F load_some(const float* p, int64_t n) {
    return n >= kRows ? _mm512_loadu_ps(p) : _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1u), p);
  }
  static void store_some(float* p, F a, int64_t n) {
    if (n >= kRows) _mm512_storeu_ps(p, a);
    else _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1u), a);
  }

  static constexpr int kPanels = 1;
  static void in_memory(F&) {}
  static constexpr bool kApart = false, kByRows = false, kAsks = false;  // none was measured here

  // Neighbours within a row.
  static constexpr int kFloatRows = 4, kFloatTile = 6;  // 24 sums, 6 activations, 1 weight
  static constexpr int kFloatRowsAlone = 8;             // an FMA takes four cycles, and two may begin in each
  // Of rows that stay in the second cache while tokens pass: half of one of 1 MiB.
  static constexpr int64_t kFloatBytes = int64_t{512} << 10;
  static __m256i load_halves(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
  static F load_row(const float* p) { return _mm512_loadu_ps(p); }
  static F load_row(const Half* p) { return _mm512_cvtph_ps(load_halves(p)); }
  static F load_row(const BrainHalf* p) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(load_halves(p)), 16));
  }
  template <class Weight>
  static F load_row_some(const Weight* p, int64_t n) {
    Weight copy[kRows] = {};
    __builtin_memcpy(copy, p, static_cast<size_t>(n) * sizeof(Weight));
    return load_row(copy);
  }
  static __m128 quarters_added(F a) {
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    return _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  }
  static float add_up(F a) {
    const __m128 four = quarters_added(a);
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
  static void put_four(float* out, F a, F b, F c, F d) {
    put_four_sums(out, quarters_added(a), quarters_added(b), quarters_added(c), quarters_added(d));
  }

  // 16 bytes of each of 16 rows become four columns of 32 bits. Lane L of z[j] is row 4L + j, so that the transposition
  // within lanes leaves the rows in order.
  static __m128i load16_at(const uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
  static I four_rows(const uint8_t* p, int64_t stride) {
    I z = _mm512_castsi128_si512(load16_at(p));
    z = _mm512_inserti32x4(z, load16_at(p + 4 * stride), 1);
    z = _mm512_inserti32x4(z, load16_at(p + 8 * stride), 2);
    return _mm512_inserti32x4(z, load16_at(p + 12 * stride), 3);
  }
  static void load_columns(const uint8_t* p, int64_t stride, I* out) {
    const I z0 = four_rows(p, stride), z1 = four_rows(p + stride, stride);
    const I z2 = four_rows(p + 2 * stride, stride), z3 = four_rows(p + 3 * stride, stride);
    const I a = _mm512_unpacklo_epi32(z0, z1), b = _mm512_unpacklo_epi32(z2, z3);
    const I c = _mm512_unpackhi_epi32(z0, z1), d = _mm512_unpackhi_epi32(z2, z3);
    out[0] = _mm512_unpacklo_epi64(a, b);
    out[1] = _mm512_unpackhi_epi64(a, b);
    out[2] = _mm512_unpacklo_epi64(c, d);
    out[3] = _mm512_unpackhi_epi64(c, d);
  }
};

}  // namespace
}  // namespace pl

// AVX-512 for processors without it: avx512_vector.h, its vectors two of AVX2 each. A test includes this instead of it, so that
// every kernel for AVX-512 is held to arithmetic in double wherever AVX2 is. What the compiler makes of it there, this cannot show.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wignored-attributes"  // of a vector as an argument of a template
#endif

// Some are macros in the compiler's own header.
#undef _mm512_slli_epi32
#undef _mm512_srli_epi32
#undef _mm512_srai_epi16
#undef _mm512_srai_epi32
#undef _mm512_cmplt_epi32_mask
#undef _mm512_roundscale_ps
#undef _mm512_extractf32x8_ps
#undef _mm512_inserti32x4

namespace pl {
namespace {

template <class Half>
struct Two {
  Half half[2];
};

// The names that avx512_vector.h uses: in its namespace they come before the compiler's own.
using __m512i = Two<__m256i>;
using __m512 = Two<__m256>;

// The same operation on both halves, which no instruction used here looks across.
template <class F, class A, class... More>
inline auto halves(F f, const A& a, const More&... more) {
  return Two<decltype(f(a.half[0], more.half[0]...))>{{f(a.half[0], more.half[0]...), f(a.half[1], more.half[1]...)}};
}
// Where an instruction of AVX2 has another name, or the same one.
#define PL_AS(name, name256) \
  template <class... A>      \
  auto _mm512_##name(const A&... a) { return halves([](auto... x) { return _mm256_##name256(x...); }, a...); }
#define PL_SAME(name) PL_AS(name, name)

inline __m512i _mm512_set1_epi8(char x) { return {{_mm256_set1_epi8(x), _mm256_set1_epi8(x)}}; }
inline __m512i _mm512_set1_epi16(int16_t x) { return {{_mm256_set1_epi16(x), _mm256_set1_epi16(x)}}; }
inline __m512i _mm512_set1_epi32(int x) { return {{_mm256_set1_epi32(x), _mm256_set1_epi32(x)}}; }
inline __m512 _mm512_set1_ps(float x) { return {{_mm256_set1_ps(x), _mm256_set1_ps(x)}}; }
inline __m512 _mm512_setzero_ps() { return _mm512_set1_ps(0.0f); }
template <class T>
inline T load(const void* p) {
  T out;
  std::memcpy(&out, p, sizeof out);
  return out;
}
inline __m512i _mm512_loadu_si512(const void* p) { return load<__m512i>(p); }
inline __m512 _mm512_loadu_ps(const float* p) { return load<__m512>(p); }
inline void _mm512_storeu_ps(float* p, const __m512& a) { std::memcpy(p, &a, sizeof a); }
inline __m512 _mm512_maskz_loadu_ps(unsigned mask, const float* p) {
  float out[16];
  for (int i = 0; i < 16; ++i) out[i] = mask >> i & 1 ? p[i] : 0.0f;
  return _mm512_loadu_ps(out);
}
inline void _mm512_mask_storeu_ps(float* p, unsigned mask, const __m512& a) {
  float lanes[16];
  _mm512_storeu_ps(lanes, a);
  for (int i = 0; i < 16; ++i) {
    if (mask >> i & 1) p[i] = lanes[i];
  }
}

PL_AS(and_si512, and_si256) PL_AS(or_si512, or_si256) PL_AS(xor_si512, xor_si256) PL_SAME(add_epi32)
PL_SAME(sub_epi32) PL_SAME(mullo_epi32) PL_SAME(add_epi16) PL_SAME(mullo_epi16) PL_SAME(maddubs_epi16)
PL_SAME(madd_epi16) PL_SAME(abs_epi8)
inline __m512i _mm512_slli_epi32(const __m512i& a, int bits) { return halves([bits](__m256i x) { return _mm256_slli_epi32(x, bits); }, a); }
inline __m512i _mm512_srli_epi32(const __m512i& a, int bits) { return halves([bits](__m256i x) { return _mm256_srli_epi32(x, bits); }, a); }
inline __m512i _mm512_srai_epi16(const __m512i& a, int bits) { return halves([bits](__m256i x) { return _mm256_srai_epi16(x, bits); }, a); }
inline __m512i _mm512_srai_epi32(const __m512i& a, int bits) { return halves([bits](__m256i x) { return _mm256_srai_epi32(x, bits); }, a); }
PL_SAME(shuffle_epi8) PL_SAME(unpacklo_epi32) PL_SAME(unpackhi_epi32) PL_SAME(unpacklo_epi64)
PL_SAME(unpackhi_epi64)
// Sums of four products of an unsigned and a signed byte: the even bytes', then the odd ones', which 16 bits would not hold together.
inline __m512i _mm512_dpbusd_epi32(const __m512i& sum, const __m512i& w, const __m512i& a) {
  return halves(
      [](__m256i s, __m256i u, __m256i v) {
        const __m256i even = _mm256_madd_epi16(_mm256_and_si256(u, _mm256_set1_epi16(255)), _mm256_srai_epi16(_mm256_slli_epi16(v, 8), 8));
        const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(u, 8), _mm256_srai_epi16(v, 8));
        return _mm256_add_epi32(s, _mm256_add_epi32(even, odd));
      },
      sum, w, a);
}
// A mask is a vector here: all bits of a lane, or none. For bytes the highest bit says it, for 32 bits a comparison.
inline __m512i _mm512_movepi8_mask(const __m512i& a) { return halves([](__m256i x) { return _mm256_cmpgt_epi8(_mm256_setzero_si256(), x); }, a); }
inline __m512i _mm512_cmplt_epi32_mask(const __m512i& a, const __m512i& b) { return halves([](__m256i x, __m256i y) { return _mm256_cmpgt_epi32(y, x); }, a, b); }
inline __m512i _mm512_mask_blend_epi32(const __m512i& mask, const __m512i& no, const __m512i& yes) {
  return halves([](__m256i m, __m256i n, __m256i y) { return _mm256_blendv_epi8(n, y, m); }, mask, no, yes);
}
inline __m512i _mm512_mask_sub_epi8(const __m512i& otherwise, const __m512i& mask, const __m512i& a, const __m512i& b) {
  return _mm512_mask_blend_epi32(mask, otherwise, halves([](__m256i x, __m256i y) { return _mm256_sub_epi8(x, y); }, a, b));
}

PL_SAME(add_ps) PL_SAME(sub_ps) PL_SAME(mul_ps) PL_SAME(div_ps) PL_SAME(max_ps) PL_SAME(min_ps)
PL_SAME(fmadd_ps) PL_SAME(fnmadd_ps)
template <int kMode>
inline __m512 roundscale(const __m512& a) {
  return halves([](__m256 x) { return _mm256_round_ps(x, kMode); }, a);
}
PL_SAME(cvtepi32_ps) PL_SAME(cvtps_epi32) PL_AS(castsi512_ps, castsi256_ps)
inline float _mm512_cvtss_f32(const __m512& a) { return _mm256_cvtss_f32(a.half[0]); }

// From and to narrower vectors.
inline __m256i _mm512_cvtepi32_epi16(const __m512i& a) {
  int32_t from[16];
  uint16_t to[16];
  std::memcpy(from, &a, sizeof a);
  for (int i = 0; i < 16; ++i) to[i] = static_cast<uint16_t>(from[i]);
  return load<__m256i>(to);
}
inline __m512i _mm512_cvtepu16_epi32(__m256i a) {
  return {{_mm256_cvtepu16_epi32(_mm256_castsi256_si128(a)), _mm256_cvtepu16_epi32(_mm256_extracti128_si256(a, 1))}};
}
inline __m512 _mm512_cvtph_ps(__m256i a) {
  return {{_mm256_cvtph_ps(_mm256_castsi256_si128(a)), _mm256_cvtph_ps(_mm256_extracti128_si256(a, 1))}};
}
inline __m512i _mm512_broadcast_i32x4(__m128i a) { return {{_mm256_broadcastsi128_si256(a), _mm256_broadcastsi128_si256(a)}}; }
inline __m512i _mm512_castsi128_si512(__m128i a) {
  const __m256i unknown = _mm256_set1_epi8(85);  // the instruction leaves them undefined
  return {{_mm256_inserti128_si256(unknown, a, 0), unknown}};
}
inline __m256 _mm512_castps512_ps256(const __m512& a) { return a.half[0]; }
template <int kHalf>
inline __m256 extract(const __m512& a) {
  return a.half[kHalf];
}
template <int kQuarter>
inline __m512i insert(__m512i a, __m128i b) {
  a.half[kQuarter / 2] = _mm256_inserti128_si256(a.half[kQuarter / 2], b, kQuarter % 2);
  return a;
}

}  // namespace
}  // namespace pl

// What these take must be known to the compiler.
#define _mm512_roundscale_ps(a, mode) roundscale<mode>(a)
#define _mm512_extractf32x8_ps(a, half) extract<half>(a)
#define _mm512_inserti32x4(a, b, quarter) insert<quarter>(a, b)

#define POCKETLLAMA_EMULATED_AVX512
#include "../src/kernels/avx512_vector.h"

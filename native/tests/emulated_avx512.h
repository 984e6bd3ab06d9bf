// AVX-512 for processors without it: avx512_vector.h, its vectors two of AVX2 each. A test includes this instead of it, so that
// every kernel for AVX-512 is held to arithmetic in double wherever AVX2 is. What the compiler makes of it there, this cannot show.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wignored-attributes"  // of a vector as an argument of a template
#endif

namespace emulated {

template <class Half>
struct Two {
  Half half[2];
};
using Ints = Two<__m256i>;
using Floats = Two<__m256>;

// The same operation on both halves, which no instruction used here looks across.
template <class F, class A, class... More>
inline auto halves(F f, const A& a, const More&... more) {
  return Two<decltype(f(a.half[0], more.half[0]...))>{{f(a.half[0], more.half[0]...), f(a.half[1], more.half[1]...)}};
}
#define PL_HALF(name) [](auto... x) { return name(x...); }

inline Ints set1_epi8(char x) { return {{_mm256_set1_epi8(x), _mm256_set1_epi8(x)}}; }
inline Ints set1_epi16(int16_t x) { return {{_mm256_set1_epi16(x), _mm256_set1_epi16(x)}}; }
inline Ints set1_epi32(int x) { return {{_mm256_set1_epi32(x), _mm256_set1_epi32(x)}}; }
inline Floats set1_ps(float x) { return {{_mm256_set1_ps(x), _mm256_set1_ps(x)}}; }
inline Floats setzero_ps() { return set1_ps(0.0f); }
template <class T>
inline T load(const void* p) {
  T out;
  std::memcpy(&out, p, sizeof out);
  return out;
}
inline Ints loadu_si512(const void* p) { return load<Ints>(p); }
inline Floats loadu_ps(const float* p) { return load<Floats>(p); }
inline void storeu_ps(float* p, const Floats& a) { std::memcpy(p, &a, sizeof a); }
inline Floats maskz_loadu_ps(unsigned mask, const float* p) {
  float out[16];
  for (int i = 0; i < 16; ++i) out[i] = mask >> i & 1 ? p[i] : 0.0f;
  return loadu_ps(out);
}
inline void mask_storeu_ps(float* p, unsigned mask, const Floats& a) {
  float lanes[16];
  storeu_ps(lanes, a);
  for (int i = 0; i < 16; ++i) {
    if (mask >> i & 1) p[i] = lanes[i];
  }
}

inline Ints and_si512(const Ints& a, const Ints& b) { return halves(PL_HALF(_mm256_and_si256), a, b); }
inline Ints or_si512(const Ints& a, const Ints& b) { return halves(PL_HALF(_mm256_or_si256), a, b); }
inline Ints xor_si512(const Ints& a, const Ints& b) { return halves(PL_HALF(_mm256_xor_si256), a, b); }
inline Ints add_epi32(const Ints& a, const Ints& b) { return halves(PL_HALF(_mm256_add_epi32), a, b); }
inline Ints sub_epi32(const Ints& a, const Ints& b) { return halves(PL_HALF(_mm256_sub_epi32), a, b); }
inline Ints mullo_epi32(const Ints& a, const Ints& b) { return halves(PL_HALF(_mm256_mullo_epi32), a, b); }
inline Ints add_epi16(const Ints& a, const Ints& b) { return halves(PL_HALF(_mm256_add_epi16), a, b); }
inline Ints mullo_epi16(const Ints& a, const Ints& b) { return halves(PL_HALF(_mm256_mullo_epi16), a, b); }
inline Ints maddubs_epi16(const Ints& a, const Ints& b) { return halves(PL_HALF(_mm256_maddubs_epi16), a, b); }
inline Ints madd_epi16(const Ints& a, const Ints& b) { return halves(PL_HALF(_mm256_madd_epi16), a, b); }
inline Ints abs_epi8(const Ints& a) { return halves(PL_HALF(_mm256_abs_epi8), a); }
inline Ints slli_epi32(const Ints& a, int bits) { return halves([bits](__m256i x) { return _mm256_slli_epi32(x, bits); }, a); }
inline Ints srli_epi32(const Ints& a, int bits) { return halves([bits](__m256i x) { return _mm256_srli_epi32(x, bits); }, a); }
inline Ints srai_epi32(const Ints& a, int bits) { return halves([bits](__m256i x) { return _mm256_srai_epi32(x, bits); }, a); }
inline Ints shuffle_epi8(const Ints& a, const Ints& b) { return halves(PL_HALF(_mm256_shuffle_epi8), a, b); }
inline Ints unpacklo_epi32(const Ints& a, const Ints& b) { return halves(PL_HALF(_mm256_unpacklo_epi32), a, b); }
inline Ints unpackhi_epi32(const Ints& a, const Ints& b) { return halves(PL_HALF(_mm256_unpackhi_epi32), a, b); }
inline Ints unpacklo_epi64(const Ints& a, const Ints& b) { return halves(PL_HALF(_mm256_unpacklo_epi64), a, b); }
inline Ints unpackhi_epi64(const Ints& a, const Ints& b) { return halves(PL_HALF(_mm256_unpackhi_epi64), a, b); }
// Sums of four products of an unsigned and a signed byte: the even bytes', then the odd ones', which 16 bits would not hold together.
inline Ints dpbusd_epi32(const Ints& sum, const Ints& w, const Ints& a) {
  return halves(
      [](__m256i s, __m256i u, __m256i v) {
        const __m256i even = _mm256_madd_epi16(_mm256_and_si256(u, _mm256_set1_epi16(255)), _mm256_srai_epi16(_mm256_slli_epi16(v, 8), 8));
        const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(u, 8), _mm256_srai_epi16(v, 8));
        return _mm256_add_epi32(s, _mm256_add_epi32(even, odd));
      },
      sum, w, a);
}
// A mask is a vector here: all bits of a lane, or none. For bytes the highest bit says it, for 32 bits a comparison.
inline Ints movepi8_mask(const Ints& a) { return halves([](__m256i x) { return _mm256_cmpgt_epi8(_mm256_setzero_si256(), x); }, a); }
inline Ints cmplt_epi32_mask(const Ints& a, const Ints& b) { return halves(PL_HALF(_mm256_cmpgt_epi32), b, a); }
inline Ints mask_blend_epi32(const Ints& mask, const Ints& no, const Ints& yes) { return halves(PL_HALF(_mm256_blendv_epi8), no, yes, mask); }
inline Ints mask_sub_epi8(const Ints& otherwise, const Ints& mask, const Ints& a, const Ints& b) {
  const Ints difference = halves(PL_HALF(_mm256_sub_epi8), a, b);
  return mask_blend_epi32(mask, otherwise, difference);
}

inline Floats add_ps(const Floats& a, const Floats& b) { return halves(PL_HALF(_mm256_add_ps), a, b); }
inline Floats sub_ps(const Floats& a, const Floats& b) { return halves(PL_HALF(_mm256_sub_ps), a, b); }
inline Floats mul_ps(const Floats& a, const Floats& b) { return halves(PL_HALF(_mm256_mul_ps), a, b); }
inline Floats div_ps(const Floats& a, const Floats& b) { return halves(PL_HALF(_mm256_div_ps), a, b); }
inline Floats max_ps(const Floats& a, const Floats& b) { return halves(PL_HALF(_mm256_max_ps), a, b); }
inline Floats min_ps(const Floats& a, const Floats& b) { return halves(PL_HALF(_mm256_min_ps), a, b); }
inline Floats fmadd_ps(const Floats& a, const Floats& b, const Floats& c) { return halves(PL_HALF(_mm256_fmadd_ps), a, b, c); }
inline Floats fnmadd_ps(const Floats& a, const Floats& b, const Floats& c) { return halves(PL_HALF(_mm256_fnmadd_ps), a, b, c); }
template <int kMode>
inline Floats roundscale_ps(const Floats& a) {
  return halves([](__m256 x) { return _mm256_round_ps(x, kMode); }, a);
}
inline Floats cvtepi32_ps(const Ints& a) { return halves(PL_HALF(_mm256_cvtepi32_ps), a); }
inline Ints cvtps_epi32(const Floats& a) { return halves(PL_HALF(_mm256_cvtps_epi32), a); }
inline Floats castsi512_ps(const Ints& a) { return halves(PL_HALF(_mm256_castsi256_ps), a); }
inline float cvtss_f32(const Floats& a) { return _mm256_cvtss_f32(a.half[0]); }

// From and to narrower vectors.
inline __m256i cvtepi32_epi16(const Ints& a) {
  int32_t from[16];
  uint16_t to[16];
  std::memcpy(from, &a, sizeof a);
  for (int i = 0; i < 16; ++i) to[i] = static_cast<uint16_t>(from[i]);
  return load<__m256i>(to);
}
inline Ints cvtepu16_epi32(__m256i a) {
  return {{_mm256_cvtepu16_epi32(_mm256_castsi256_si128(a)), _mm256_cvtepu16_epi32(_mm256_extracti128_si256(a, 1))}};
}
inline Floats cvtph_ps(__m256i a) {
  return {{_mm256_cvtph_ps(_mm256_castsi256_si128(a)), _mm256_cvtph_ps(_mm256_extracti128_si256(a, 1))}};
}
inline Ints broadcast_i32x4(__m128i a) { return {{_mm256_broadcastsi128_si256(a), _mm256_broadcastsi128_si256(a)}}; }
inline Ints castsi128_si512(__m128i a) {
  const __m256i unknown = _mm256_set1_epi8(85);  // the instruction leaves them undefined
  return {{_mm256_inserti128_si256(unknown, a, 0), unknown}};
}
inline __m256 castps512_ps256(const Floats& a) { return a.half[0]; }
template <int kHalf>
inline __m256 extractf32x8_ps(const Floats& a) {
  return a.half[kHalf];
}
template <int kQuarter>
inline Ints inserti32x4(Ints a, __m128i b) {
  a.half[kQuarter / 2] = _mm256_inserti128_si256(a.half[kQuarter / 2], b, kQuarter % 2);
  return a;
}
#undef PL_HALF

}  // namespace emulated

// Some are macros in the compiler's own header.
#undef _mm512_roundscale_ps
#undef _mm512_extractf32x8_ps
#undef _mm512_inserti32x4
#undef _mm512_slli_epi32
#undef _mm512_srli_epi32
#undef _mm512_srai_epi32
#undef _mm512_cmplt_epi32_mask
#define __m512i ::emulated::Ints
#define __m512 ::emulated::Floats
#define _mm512_roundscale_ps(a, mode) ::emulated::roundscale_ps<mode>(a)
#define _mm512_extractf32x8_ps(a, half) ::emulated::extractf32x8_ps<half>(a)
#define _mm512_inserti32x4(a, b, quarter) ::emulated::inserti32x4<quarter>(a, b)
#define _mm512_abs_epi8 ::emulated::abs_epi8
#define _mm512_add_epi16 ::emulated::add_epi16
#define _mm512_add_epi32 ::emulated::add_epi32
#define _mm512_add_ps ::emulated::add_ps
#define _mm512_and_si512 ::emulated::and_si512
#define _mm512_broadcast_i32x4 ::emulated::broadcast_i32x4
#define _mm512_castps512_ps256 ::emulated::castps512_ps256
#define _mm512_castsi128_si512 ::emulated::castsi128_si512
#define _mm512_castsi512_ps ::emulated::castsi512_ps
#define _mm512_cmplt_epi32_mask ::emulated::cmplt_epi32_mask
#define _mm512_cvtepi32_epi16 ::emulated::cvtepi32_epi16
#define _mm512_cvtepi32_ps ::emulated::cvtepi32_ps
#define _mm512_cvtepu16_epi32 ::emulated::cvtepu16_epi32
#define _mm512_cvtph_ps ::emulated::cvtph_ps
#define _mm512_cvtps_epi32 ::emulated::cvtps_epi32
#define _mm512_cvtss_f32 ::emulated::cvtss_f32
#define _mm512_div_ps ::emulated::div_ps
#define _mm512_dpbusd_epi32 ::emulated::dpbusd_epi32
#define _mm512_fmadd_ps ::emulated::fmadd_ps
#define _mm512_fnmadd_ps ::emulated::fnmadd_ps
#define _mm512_loadu_ps ::emulated::loadu_ps
#define _mm512_loadu_si512 ::emulated::loadu_si512
#define _mm512_madd_epi16 ::emulated::madd_epi16
#define _mm512_maddubs_epi16 ::emulated::maddubs_epi16
#define _mm512_mask_blend_epi32 ::emulated::mask_blend_epi32
#define _mm512_mask_storeu_ps ::emulated::mask_storeu_ps
#define _mm512_mask_sub_epi8 ::emulated::mask_sub_epi8
#define _mm512_maskz_loadu_ps ::emulated::maskz_loadu_ps
#define _mm512_max_ps ::emulated::max_ps
#define _mm512_min_ps ::emulated::min_ps
#define _mm512_movepi8_mask ::emulated::movepi8_mask
#define _mm512_mul_ps ::emulated::mul_ps
#define _mm512_mullo_epi16 ::emulated::mullo_epi16
#define _mm512_mullo_epi32 ::emulated::mullo_epi32
#define _mm512_or_si512 ::emulated::or_si512
#define _mm512_set1_epi16 ::emulated::set1_epi16
#define _mm512_set1_epi32 ::emulated::set1_epi32
#define _mm512_set1_epi8 ::emulated::set1_epi8
#define _mm512_set1_ps ::emulated::set1_ps
#define _mm512_setzero_ps ::emulated::setzero_ps
#define _mm512_shuffle_epi8 ::emulated::shuffle_epi8
#define _mm512_slli_epi32 ::emulated::slli_epi32
#define _mm512_srai_epi32 ::emulated::srai_epi32
#define _mm512_srli_epi32 ::emulated::srli_epi32
#define _mm512_storeu_ps ::emulated::storeu_ps
#define _mm512_sub_epi32 ::emulated::sub_epi32
#define _mm512_sub_ps ::emulated::sub_ps
#define _mm512_unpackhi_epi32 ::emulated::unpackhi_epi32
#define _mm512_unpackhi_epi64 ::emulated::unpackhi_epi64
#define _mm512_unpacklo_epi32 ::emulated::unpacklo_epi32
#define _mm512_unpacklo_epi64 ::emulated::unpacklo_epi64
#define _mm512_xor_si512 ::emulated::xor_si512

#define POCKETLLAMA_EMULATED_AVX512
#include "../src/kernels/avx512_vector.h"

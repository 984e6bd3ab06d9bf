// The loops of avx2_probe.cc and avx_vnni_probe.cc: loads of half a cache line, and vpmaddubsw with the addition that keeps
// its sums of 16 bits, or vpdpbusd where the file is compiled for it. To be included by these only.
#pragma once

#include <immintrin.h>

#include "probe.h"

namespace pl {
namespace {

constexpr int64_t kAhead = 4096;  // bytes; the hardware's own prefetch ends at each page

uint64_t read(const void* data, int64_t n) {
  const auto* const p = static_cast<const char*>(data);
  __m256i sum[4] = {};
  for (int64_t at = 0; at < n; at += 128) {
    _mm_prefetch(p + at + kAhead, _MM_HINT_T0);
    _mm_prefetch(p + at + kAhead + 64, _MM_HINT_T0);
    for (int i = 0; i < 4; ++i) {
      sum[i] = _mm256_xor_si256(sum[i], _mm256_load_si256(reinterpret_cast<const __m256i*>(p + at + 32 * i)));
    }
  }
  const __m256i all = _mm256_xor_si256(_mm256_xor_si256(sum[0], sum[1]), _mm256_xor_si256(sum[2], sum[3]));
  const __m128i half = _mm_xor_si128(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
  return static_cast<uint64_t>(_mm_cvtsi128_si64(half) ^ _mm_extract_epi64(half, 1));
}

// Written out below, for a compiler may keep an array in memory.
constexpr int kChains = 10;  // hide the latency of a sum (5 cycles) behind products that come twice a cycle

inline void step(__m256i& sum, __m256i unsigned_bytes, __m256i signed_bytes) {
#if defined(__AVXVNNI__)
  sum = _mm256_dpbusd_avx_epi32(sum, unsigned_bytes, signed_bytes);
  __asm__ volatile("" : "+x"(sum));  // or equal sums would be added up once
#else
  __asm__ volatile("" : "+x"(unsigned_bytes));  // or one product would be enough for all
  sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(unsigned_bytes, signed_bytes));
#endif
}

int32_t multiply(int64_t rounds) {
  const __m256i u = _mm256_set1_epi8(3), s = _mm256_set1_epi8(5), zero = _mm256_setzero_si256();
  __m256i a = zero, b = zero, c = zero, d = zero, e = zero, f = zero, g = zero, h = zero, i = zero, j = zero;
  for (int64_t r = 0; r < rounds; ++r) {
    step(a, u, s), step(b, u, s), step(c, u, s), step(d, u, s), step(e, u, s);
    step(f, u, s), step(g, u, s), step(h, u, s), step(i, u, s), step(j, u, s);
  }
  return _mm256_extract_epi32(a ^ b ^ c ^ d ^ e ^ f ^ g ^ h ^ i ^ j, 0);
}

constexpr Probe kProbe = {read, multiply, kChains * 32};

}  // namespace
}  // namespace pl

// The loops of avx2_probe.cc and avx_vnni_probe.cc: reading memory, and vpmaddubsw with the addition that keeps
// its sums of 16 bits, or vpdpbusd where the file is compiled for it. To be included by these only.
#pragma once

#include <immintrin.h>

#include "probe_read.h"

namespace pl {
namespace {

struct Sum {
  __m256i low = _mm256_setzero_si256(), high = low;
  void add(const char* line) {
    const auto* const p = reinterpret_cast<const __m256i*>(line);
    low = _mm256_xor_si256(low, _mm256_load_si256(p));
    high = _mm256_xor_si256(high, _mm256_load_si256(p + 1));
  }
  uint64_t fold() const {
    const __m256i all = _mm256_xor_si256(low, high);
    const __m128i half = _mm_xor_si128(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
    return static_cast<uint64_t>(_mm_cvtsi128_si64(half) ^ _mm_extract_epi64(half, 1));
  }
};

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

constexpr Probe kProbe = {read_streams<Sum>, multiply, kChains * 32};

}  // namespace
}  // namespace pl

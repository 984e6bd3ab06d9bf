// Compiled with: -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni
// The limits of AVX-512: loads of whole cache lines, and vpdpbusd.
#if defined(__x86_64__)

#include <immintrin.h>

#include "probe.h"

namespace pl {
namespace {

// Through memory: GCC 12 warns of its own header's casts and reductions.
uint64_t fold(__m512i v) {
  uint64_t words[8], all = 0;
  _mm512_storeu_si512(words, v);
  for (const uint64_t word : words) all ^= word;
  return all;
}

constexpr int64_t kAhead = 4096;  // bytes; the hardware's own prefetch ends at each page

uint64_t read(const void* data, int64_t n) {
  const auto* const p = static_cast<const char*>(data);
  __m512i sum[4] = {};
  for (int64_t at = 0; at < n; at += 256) {
    for (int i = 0; i < 4; ++i) {
      _mm_prefetch(p + at + kAhead + 64 * i, _MM_HINT_T0);
      sum[i] = _mm512_xor_si512(sum[i], _mm512_load_si512(p + at + 64 * i));
    }
  }
  return fold(_mm512_xor_si512(_mm512_xor_si512(sum[0], sum[1]), _mm512_xor_si512(sum[2], sum[3])));
}

// Written out below, for a compiler may keep an array in memory.
constexpr int kChains = 12;  // hide the latency of a product (4 or 5 cycles) where two are begun in each cycle

inline void step(__m512i& sum, __m512i unsigned_bytes, __m512i signed_bytes) {
  sum = _mm512_dpbusd_epi32(sum, unsigned_bytes, signed_bytes);
  __asm__ volatile("" : "+v"(sum));  // or equal sums would be added up once
}

int32_t multiply(int64_t rounds) {
  const __m512i u = _mm512_set1_epi8(3), s = _mm512_set1_epi8(5), zero = _mm512_setzero_si512();
  __m512i a = zero, b = zero, c = zero, d = zero, e = zero, f = zero, g = zero, h = zero, i = zero, j = zero, k = zero,
          l = zero;
  for (int64_t r = 0; r < rounds; ++r) {
    step(a, u, s), step(b, u, s), step(c, u, s), step(d, u, s), step(e, u, s), step(f, u, s);
    step(g, u, s), step(h, u, s), step(i, u, s), step(j, u, s), step(k, u, s), step(l, u, s);
  }
  return static_cast<int32_t>(fold(a ^ b ^ c ^ d ^ e ^ f ^ g ^ h ^ i ^ j ^ k ^ l));
}

}  // namespace

Probe avx512_vnni_probe() { return {read, multiply, kChains * 64}; }

}  // namespace pl

#endif

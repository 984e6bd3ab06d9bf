// Compiled with: -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni
// The limits of AVX-512: loads of whole cache lines, and vpdpbusd.
#if defined(__x86_64__)

#include <immintrin.h>

#include "probe_read.h"

namespace pl {
namespace {

// Through memory: GCC 12 warns of its own header's casts and reductions.
uint64_t fold(__m512i v) {
  uint64_t words[8], all = 0;
  _mm512_storeu_si512(words, v);
  for (const uint64_t word : words) all ^= word;
  return all;
}

struct Sum {
  __m512i all = _mm512_setzero_si512();
  void add(const char* line) { all = _mm512_xor_si512(all, _mm512_load_si512(line)); }
  uint64_t fold() const { return pl::fold(all); }
};

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

Probe avx512_vnni_probe() { return {read_streams<Sum>, multiply, kChains * 64}; }

}  // namespace pl

#endif

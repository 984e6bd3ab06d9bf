// The limits of aarch64 with the dot product extension, and with the one for matrices: loads of 16 bytes, sdot, smmla. These
// instructions are written out, so that the file needs no flags.
#if defined(__aarch64__)

#include <arm_neon.h>

#include "probe_read.h"

namespace pl {
namespace {

struct Sum {
  uint8x16_t parts[4] = {vdupq_n_u8(0), vdupq_n_u8(0), vdupq_n_u8(0), vdupq_n_u8(0)};
  void add(const char* line) {
    const auto* const p = reinterpret_cast<const uint8_t*>(line);
    for (int i = 0; i < 4; ++i) parts[i] = veorq_u8(parts[i], vld1q_u8(p + 16 * i));
  }
  uint64_t fold() const {
    const uint64x2_t all = vreinterpretq_u64_u8(veorq_u8(veorq_u8(parts[0], parts[1]), veorq_u8(parts[2], parts[3])));
    return vgetq_lane_u64(all, 0) ^ vgetq_lane_u64(all, 1);
  }
};

// Written out below, for a compiler may keep an array in memory.
constexpr int kChains = 12;  // hide the latency of a product (3 cycles) where four are begun in each cycle

inline void sdot(int32x4_t& sum, int8x16_t a, int8x16_t b) {
  __asm__ volatile(".arch armv8.2-a+dotprod\n\tsdot %0.4s, %1.16b, %2.16b" : "+w"(sum) : "w"(a), "w"(b));
}
inline void smmla(int32x4_t& sum, int8x16_t a, int8x16_t b) {
  __asm__ volatile(".arch armv8.2-a+i8mm\n\tsmmla %0.4s, %1.16b, %2.16b" : "+w"(sum) : "w"(a), "w"(b));
}

template <void (*step)(int32x4_t&, int8x16_t, int8x16_t)>
int32_t multiply(int64_t rounds) {
  const int8x16_t x = vdupq_n_s8(3), y = vdupq_n_s8(5);
  const int32x4_t zero = vdupq_n_s32(0);
  int32x4_t a = zero, b = zero, c = zero, d = zero, e = zero, f = zero, g = zero, h = zero, i = zero, j = zero, k = zero,
            l = zero;
  for (int64_t r = 0; r < rounds; ++r) {
    step(a, x, y), step(b, x, y), step(c, x, y), step(d, x, y), step(e, x, y), step(f, x, y);
    step(g, x, y), step(h, x, y), step(i, x, y), step(j, x, y), step(k, x, y), step(l, x, y);
  }
  return vgetq_lane_s32(a ^ b ^ c ^ d ^ e ^ f ^ g ^ h ^ i ^ j ^ k ^ l, 0);
}

}  // namespace

Probe neon_dotprod_probe() { return {read_streams<Sum>, multiply<sdot>, kChains * 16}; }
Probe neon_i8mm_probe() { return {read_streams<Sum>, multiply<smmla>, kChains * 32}; }

}  // namespace pl

#endif

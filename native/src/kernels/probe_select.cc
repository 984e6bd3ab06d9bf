// The choice of a probe, and the one for any machine.
#include "probe.h"

#include "../cpu.h"
#include "kernels.h"
#include "probe_read.h"

namespace pl {
namespace {

struct Sum {
  uint64_t words[4] = {};
  void add(const char* line) {
    const auto* const p = reinterpret_cast<const uint64_t*>(line);
    for (int i = 0; i < 8; ++i) words[i % 4] ^= p[i];
  }
  uint64_t fold() const { return words[0] ^ words[1] ^ words[2] ^ words[3]; }
};

constexpr int kLanes = 64;

int32_t multiply(int64_t rounds) {
  int8_t a[kLanes];
  uint32_t sum[kLanes] = {}, all = 0;  // unsigned: they may overflow
  for (int i = 0; i < kLanes; ++i) a[i] = static_cast<int8_t>(i);
  for (int64_t r = 0; r < rounds; ++r) {
    const auto b = static_cast<int8_t>(r);
    for (int i = 0; i < kLanes; ++i) sum[i] += static_cast<uint32_t>(a[i] * b);
  }
  for (const uint32_t lane : sum) all ^= lane;
  return static_cast<int32_t>(all);
}

}  // namespace

Probe best_probe() {
#if defined(__x86_64__)
  if (cpu().avx512_vnni && isa_allowed("avx512_vnni")) return avx512_vnni_probe();
  if (isa_allowed("avx_vnni")) return avx_vnni_probe();
  if (cpu().avx2 && isa_allowed("avx2")) return avx2_probe();
#elif defined(__aarch64__)
  if (isa_allowed("neon_i8mm")) return neon_i8mm_probe();
  if (cpu().dotprod && isa_allowed("neon")) return neon_dotprod_probe();
#endif
  return {read_streams<Sum>, multiply, kLanes};
}

}  // namespace pl

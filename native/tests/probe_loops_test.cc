// The loops of the probes, each that this machine has: every byte is read, and something is multiplied.
#include <cstdint>
#include <cstdlib>

#include "../src/kernels/kernels.h"
#include "../src/kernels/probe.h"
#include "../src/rng.h"
#include "check.h"

namespace {

void reads_every_byte(const pl::Probe& probe, int streams, int64_t ahead) {
  constexpr size_t kWords = 4096 / 8 * 3;
  alignas(64) static uint64_t data[kWords];
  pl::Rng rng(1);
  uint64_t all = 0;
  for (uint64_t& word : data) all ^= word = rng.next();
  CHECK_EQ(probe.read(data, sizeof data, streams, ahead), all);
  for (size_t byte = 0; byte < sizeof data; byte += 61) {
    reinterpret_cast<unsigned char*>(data)[byte] ^= 0x40;
    CHECK(probe.read(data, sizeof data, streams, ahead) != all);
    reinterpret_cast<unsigned char*>(data)[byte] ^= 0x40;
  }
}

}  // namespace

int main() {
  for (const char* isa : {"scalar", "avx2", "avx_vnni", "neon", "neon_i8mm", ""}) {
    setenv("POCKETLLAMA_ISA", isa, 1);
    const pl::Probe probe = pl::best_probe();
    for (int streams = 1; streams <= pl::kProbeStreams; streams *= 2) {
      for (const int64_t ahead : {0, 256}) reads_every_byte(probe, streams, ahead);
    }
    CHECK(probe.macs_per_round > 0);
    probe.multiply(10);
  }
  setenv("POCKETLLAMA_ISA", "scalar", 1);
  CHECK(pl::isa_allowed("scalar") && !pl::isa_allowed("avx2") && !pl::isa_allowed("nonsense"));
  return check_failures();
}

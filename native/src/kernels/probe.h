// What bounds the kernels, as loops that do nothing else: reading memory, and multiplying int8. One pair for each ISA,
// in <isa>_probe.cc; ../probe.cc times them.
#pragma once

#include <cstdint>

namespace pl {

constexpr int64_t kProbeLine = 64;  // bytes
constexpr int kProbeStreams = 16;   // at most

struct Probe {
  // Reads n bytes, a multiple of 1024 from an address that 64 divides, as 1, 2, 4, 8 or 16 streams, a line of each in turn;
  // asks for lines `ahead` bytes ahead, unless that is 0. The result depends on every byte.
  uint64_t (*read)(const void* data, int64_t n, int streams, int64_t ahead);
  // `rounds` times `macs_per_round` products of int8, added up in registers; the result depends on all of them.
  int32_t (*multiply)(int64_t rounds);
  int64_t macs_per_round;
};

// The widest that this machine has and POCKETLLAMA_ISA allows.
Probe best_probe();

// Only to be called on a machine that has the ISA.
Probe avx2_probe();
Probe avx_vnni_probe();
Probe avx512_vnni_probe();
Probe neon_dotprod_probe();
Probe neon_i8mm_probe();

}  // namespace pl

// Random numbers: a small generator with a state of its own, so that each request has its own stream.
#pragma once

#include <cstdint>

namespace pl {

// SplitMix64 (Steele, Lea, Flood 2014): one 64-bit state, passes BigCrush, and may be begun from any number.
class Rng {
 public:
  explicit Rng(uint64_t seed) : state_(seed) {}

  uint64_t next() {
    state_ += 0x9E3779B97F4A7C15u;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }

  // Uniform in [0, 1), from the 53 best bits.
  double uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

 private:
  uint64_t state_;
};

}  // namespace pl

// The small floats of tensor blocks, in software. In a nameless namespace: every file that includes this gets
// its own copy, compiled with its own flags, and no linker can hand an ISA file's copy to code that must run
// everywhere.
#pragma once

#include <cstdint>
#include <cstring>

namespace pl {
namespace {

inline float bits_to_f32(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

inline uint32_t f32_to_bits(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

// IEEE half: 1 sign, 5 exponent (bias 15), 10 fraction.
inline float f16_to_f32(uint16_t h) {
  const uint32_t sign = (h & 0x8000u) << 16;
  const uint32_t rest = h & 0x7FFFu;
  if (rest >= 0x7C00u) return bits_to_f32(sign | 0x7F800000u | ((rest & 0x3FFu) << 13));  // infinity, NaN
  if (rest < 0x400u)
    return bits_to_f32(sign | f32_to_bits(static_cast<float>(rest) * 0x1.0p-24f));  // denormal
  return bits_to_f32(sign | ((rest << 13) + (112u << 23)));
}

// To the nearest, ties to even; beyond 65504 to infinity; a NaN stays one.
inline uint16_t f32_to_f16(float x) {
  const uint32_t bits = f32_to_bits(x);
  const auto sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t rest = bits & 0x7FFFFFFFu;
  if (rest > 0x7F800000u) return static_cast<uint16_t>(sign | 0x7E00u | ((rest >> 13) & 0x3FFu));
  if (rest >= 0x47800000u) return static_cast<uint16_t>(sign | 0x7C00u);  // 65536 and more
  if (rest < 0x38800000u) {
    // Below 2^-14: adding 1/2 brings the last bit of a half's denormals to the last bit of the float,
    // rounded.
    const uint32_t sum = f32_to_bits(bits_to_f32(rest) + 0.5f);
    return static_cast<uint16_t>(sign | (sum - 0x3F000000u));
  }
  const uint32_t odd = (rest >> 13) & 1u;
  return static_cast<uint16_t>(sign | ((rest - 0x38000000u + 0xFFFu + odd) >> 13));
}

// The upper half of a float.
inline float bf16_to_f32(uint16_t h) { return bits_to_f32(static_cast<uint32_t>(h) << 16); }

// Half of 2^(e - 127), the scale of an MXFP4 block whose values are stored doubled. 2^-128 and 2^-127 are
// denormal.
inline float e8m0_half(uint8_t e) {
  return bits_to_f32(e < 2 ? 0x00200000u << e : static_cast<uint32_t>(e - 1) << 23);
}

}  // namespace
}  // namespace pl

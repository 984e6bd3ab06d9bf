// The quantizers as compiled for one instruction set, put into their table.
#pragma once

#include "codebook.h"
#include "legacy.h"
#include "quantize.h"
#include "quantize_k.h"

namespace pl {
namespace {

inline void quantize_f32(const float* x, void* out, int64_t n, int64_t, const float*) {
  std::memcpy(out, x, static_cast<size_t>(n) * sizeof(float));
}

inline void quantize_bf16(const float* x, void* out, int64_t n, int64_t, const float*) {
  auto* const to = static_cast<uint16_t*>(out);
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t bits = f32_to_bits(x[i]);
    to[i] = static_cast<uint16_t>((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
  }
}

// As whole numbers, magnitudes are in the order that they have as floats, and what is not finite comes last.
inline float largest_of(const float* x, int64_t n) {
  Ints most{};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const Ints bits = reinterpret_cast<Ints>(load(x + i)) & 0x7FFFFFFF;
    most = bits > most ? bits : most;
  }
  int32_t one = 0;
  for (int lane = 0; lane < kLanes; ++lane) one = most[lane] > one ? most[lane] : one;
  for (; i < n; ++i) {
    const auto bits = static_cast<int32_t>(f32_to_bits(x[i]) & 0x7FFFFFFFu);
    one = bits > one ? bits : one;
  }
  return bits_to_f32(static_cast<uint32_t>(one));
}

inline void fill(Quantizers& out) {
  out.largest = largest_of;
  const auto at = [&out](Type type) -> Quantize& { return out.at[static_cast<uint32_t>(type)]; };
  at(Type::F32) = quantize_f32;
  at(Type::BF16) = quantize_bf16;
  at(Type::Q8_0) = quantize_q8_0;
  at(Type::Q4_0) = quantize_centred<BlockQ4_0, 4>;
  at(Type::Q5_0) = quantize_centred<BlockQ5_0, 5>;
  at(Type::Q4_1) = quantize_from_lowest<BlockQ4_1, 4>;
  at(Type::Q5_1) = quantize_from_lowest<BlockQ5_1, 5>;
  at(Type::Q2_K) = quantize_q2_k;
  at(Type::Q3_K) = quantize_q3_k;
  at(Type::Q4_K) = quantize_q4_k;
  at(Type::Q5_K) = quantize_q5_k;
  at(Type::Q6_K) = quantize_q6_k;
  at(Type::IQ4_NL) = quantize_iq4_nl;
  at(Type::IQ4_XS) = quantize_iq4_xs;
}

}  // namespace
}  // namespace pl

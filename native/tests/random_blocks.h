// Blocks of quantized weights made of random bits, with scales that are neither NaN nor infinite.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "../src/rng.h"
#include "../src/types.h"

// Where the 16-bit scales of a block are, in bytes; -1: nowhere.
inline void scale_places(pl::Type type, int out[2]) {
  using pl::Type;
  out[0] = 0;
  out[1] = -1;
  switch (type) {
    case Type::Q4_1:
    case Type::Q5_1:
    case Type::Q4_K:
    case Type::Q5_K: out[1] = 2; break;
    case Type::Q2_K:
      out[0] = 80;
      out[1] = 82;
      break;
    case Type::Q3_K: out[0] = 108; break;
    case Type::Q6_K: out[0] = 208; break;
    case Type::IQ1_M:
    case Type::MXFP4: out[0] = -1; break;
    default: break;
  }
}

// `count` blocks of a quantized type: magnitudes of scales are 2^-7 to 2^-3.
inline std::vector<uint8_t> random_blocks(pl::Type type, int64_t count, uint64_t seed) {
  const size_t size = pl::info(type).block_bytes;
  std::vector<uint8_t> out(size * static_cast<size_t>(count));
  pl::Rng rng(seed);
  for (size_t i = 0; i < out.size(); i += 8) {
    const uint64_t n = rng.next();
    std::memcpy(&out[i], &n, out.size() - i < 8 ? out.size() - i : 8);
  }
  int places[2];
  scale_places(type, places);
  for (size_t at = 0; at < out.size(); at += size) {
    for (const int place : places) {
      if (place < 0) continue;
      uint8_t& high = out[at + static_cast<size_t>(place) + 1];
      high = static_cast<uint8_t>((high & 0x8F) | 0x20);
    }
    // The topmost nibble of the last word is that of the scale.
    if (type == pl::Type::IQ1_M) out[at + 55] = static_cast<uint8_t>((out[at + 55] & 0x8F) | 0x20);
    if (type == pl::Type::MXFP4) out[at] = static_cast<uint8_t>(118 + out[at] % 16);
  }
  return out;
}

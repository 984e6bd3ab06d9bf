// From a block's quants and whole-number scales to its bytes: what unpack.h reads.
#pragma once

#include <cstdint>

#include "blocks.h"
#include "codebook.h"
#include "half.h"

namespace pl {
namespace {

// One block, out of its lane. q as stored, but for an offset that the type takes away: see each.
struct Parts {
  const uint8_t* q;  // (256)
  int scale[16], low[16];
  float d, dmin;
};

inline void pack_two_bits(const uint8_t* q, uint8_t* out) {
  for (int half = 0; half < 2; ++half) {
    const uint8_t* const from = q + half * 128;
    for (int i = 0; i < 32; ++i) {
      out[half * 32 + i] = static_cast<uint8_t>((from[i] & 3) | (from[i + 32] & 3) << 2 | (from[i + 64] & 3) << 4 |
                                                (from[i + 96] & 3) << 6);
    }
  }
}

inline void pack_four_bits(const uint8_t* q, uint8_t* out) {
  for (int pair = 0; pair < 4; ++pair) {
    for (int i = 0; i < 32; ++i) {
      out[pair * 32 + i] = static_cast<uint8_t>((q[pair * 64 + i] & 15) | (q[pair * 64 + 32 + i] & 15) << 4);
    }
  }
}

// Bit g of out[i] is bit `bit` of q[32 g + i].
inline void pack_high_bit(const uint8_t* q, int bit, uint8_t* out) {
  for (int i = 0; i < 32; ++i) {
    int bits = 0;
    for (int g = 0; g < 8; ++g) bits |= (q[32 * g + i] >> bit & 1) << g;
    out[i] = static_cast<uint8_t>(bits);
  }
}

inline void pack_scale_min(const int* scale, const int* low, uint8_t* out) {
  for (int g = 0; g < 4; ++g) {
    const int s = scale[g + 4], m = low[g + 4];
    out[g] = static_cast<uint8_t>(scale[g] | s >> 4 << 6);
    out[g + 4] = static_cast<uint8_t>(low[g] | m >> 4 << 6);
    out[g + 8] = static_cast<uint8_t>((s & 15) | (m & 15) << 4);
  }
}

inline void pack(const Parts& p, BlockQ2_K& b) {
  b.d = f32_to_f16(p.d), b.dmin = f32_to_f16(p.dmin);
  for (int g = 0; g < 16; ++g) b.scales[g] = static_cast<uint8_t>(p.scale[g] | p.low[g] << 4);
  pack_two_bits(p.q, b.qs);
}

// q is 4 more than its value, scale its value.
inline void pack(const Parts& p, BlockQ3_K& b) {
  b.d = f32_to_f16(p.d);
  pack_two_bits(p.q, b.qs);
  pack_high_bit(p.q, 2, b.hmask);
  for (int i = 0; i < 12; ++i) b.scales[i] = 0;
  for (int g = 0; g < 16; ++g) {
    const int s = p.scale[g] + 32;
    b.scales[g % 8] = static_cast<uint8_t>(b.scales[g % 8] | (s & 15) << (g / 8 * 4));
    b.scales[8 + g % 4] = static_cast<uint8_t>(b.scales[8 + g % 4] | s >> 4 << (g / 4 * 2));
  }
}

inline void pack(const Parts& p, BlockQ4_K& b) {
  b.d = f32_to_f16(p.d), b.dmin = f32_to_f16(p.dmin);
  pack_scale_min(p.scale, p.low, b.scales);
  pack_four_bits(p.q, b.qs);
}

inline void pack(const Parts& p, BlockQ5_K& b) {
  b.d = f32_to_f16(p.d), b.dmin = f32_to_f16(p.dmin);
  pack_scale_min(p.scale, p.low, b.scales);
  pack_four_bits(p.q, b.qs);
  pack_high_bit(p.q, 4, b.qh);
}

// q is 32 more than its value.
inline void pack(const Parts& p, BlockQ6_K& b) {
  b.d = f32_to_f16(p.d);
  for (int g = 0; g < 16; ++g) b.scales[g] = static_cast<int8_t>(p.scale[g]);
  for (int half = 0; half < 2; ++half) {
    const uint8_t* const q = p.q + half * 128;
    for (int i = 0; i < 64; ++i) b.ql[half * 64 + i] = static_cast<uint8_t>((q[i] & 15) | (q[i + 64] & 15) << 4);
    for (int i = 0; i < 32; ++i) {
      b.qh[half * 32 + i] =
          static_cast<uint8_t>(q[i] >> 4 | q[i + 32] >> 4 << 2 | q[i + 64] >> 4 << 4 | q[i + 96] >> 4 << 6);
    }
  }
}

// q is 128 more than its value, which is one of the codebook's.
inline void pack(const Parts& p, BlockIQ4_XS& b) {
  const CodebookIndex index;
  b.d = f32_to_f16(p.d), b.scales_h = 0;
  for (int g = 0; g < 8; ++g) {
    const int s = p.scale[g] + 32;
    const int before = g % 2 ? b.scales_l[g / 2] : 0;
    b.scales_l[g / 2] = static_cast<uint8_t>(before | (s & 15) << (g % 2 * 4));
    b.scales_h = static_cast<uint16_t>(b.scales_h | s >> 4 << (2 * g));
    for (int i = 0; i < 16; ++i) {
      b.qs[16 * g + i] = static_cast<uint8_t>(index.of[p.q[32 * g + i]] | index.of[p.q[32 * g + 16 + i]] << 4);
    }
  }
}

}  // namespace
}  // namespace pl

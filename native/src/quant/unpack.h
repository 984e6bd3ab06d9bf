// From a block's bytes to numbers: for every quantized type, the 32 weights of one group of a block as
//   x[i] = scale[i / 16] * q[i] - min[i / 16]
// Dequantization and the dot products both read blocks through here. In a nameless namespace, like half.h and
// for its reason.
#pragma once

#include <cstdint>

#include "blocks.h"
#include "grids.h"
#include "half.h"

namespace pl {
namespace {

struct Group {
  int8_t q[32];
  float scale[2], min[2];  // for q[0..16) and q[16..32)
};

inline void set_scale(Group& out, float scale, float min = 0.0f) {
  out.scale[0] = out.scale[1] = scale;
  out.min[0] = out.min[1] = min;
}

inline int8_t i8(int n) { return static_cast<int8_t>(n); }

// ---- 32 elements. Byte i of qs holds elements i (low nibble) and i + 16 (high nibble).

inline void unpack(const BlockQ4_0& b, int, Group& out) {
  for (int i = 0; i < 16; ++i) {
    out.q[i] = i8((b.qs[i] & 15) - 8);
    out.q[i + 16] = i8((b.qs[i] >> 4) - 8);
  }
  set_scale(out, f16_to_f32(b.d));
}

inline void unpack(const BlockQ4_1& b, int, Group& out) {
  for (int i = 0; i < 16; ++i) {
    out.q[i] = i8(b.qs[i] & 15);
    out.q[i + 16] = i8(b.qs[i] >> 4);
  }
  set_scale(out, f16_to_f32(b.d), -f16_to_f32(b.m));
}

// Bit i of qh, taken as 32 bits, is bit 4 of element i.
inline void unpack_5_bits(const uint8_t* qs, const uint8_t* qh, int zero, int8_t* q) {
  for (int i = 0; i < 16; ++i) {
    const int low = (qh[i / 8] >> (i % 8)) & 1, high = (qh[i / 8 + 2] >> (i % 8)) & 1;
    q[i] = i8(((qs[i] & 15) | low << 4) - zero);
    q[i + 16] = i8((qs[i] >> 4 | high << 4) - zero);
  }
}

inline void unpack(const BlockQ5_0& b, int, Group& out) {
  unpack_5_bits(b.qs, b.qh, 16, out.q);
  set_scale(out, f16_to_f32(b.d));
}

inline void unpack(const BlockQ5_1& b, int, Group& out) {
  unpack_5_bits(b.qs, b.qh, 0, out.q);
  set_scale(out, f16_to_f32(b.d), -f16_to_f32(b.m));
}

inline void unpack(const BlockQ8_0& b, int, Group& out) {
  for (int i = 0; i < 32; ++i) out.q[i] = b.qs[i];
  set_scale(out, f16_to_f32(b.d));
}

// Values that a nibble stands for. FP4 (E2M1) is doubled, so that all are whole.
constexpr int8_t kIQ4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
constexpr int8_t kFP4Doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

inline void look_up(const uint8_t* qs, const int8_t* values, int8_t* q) {
  for (int i = 0; i < 16; ++i) {
    q[i] = values[qs[i] & 15];
    q[i + 16] = values[qs[i] >> 4];
  }
}

inline void unpack(const BlockIQ4_NL& b, int, Group& out) {
  look_up(b.qs, kIQ4Values, out.q);
  set_scale(out, f16_to_f32(b.d));
}

inline void unpack(const BlockMXFP4& b, int, Group& out) {
  look_up(b.qs, kFP4Doubled, out.q);
  set_scale(out, e8m0_half(b.e));
}

// ---- 256 elements; g is the group, 0 to 7.

// Each half of 128 has 32 bytes: group j of it is bits 2j and 2j + 1 of them. Scale and minimum are for 16, a
// nibble each.
inline void unpack(const BlockQ2_K& b, int g, Group& out) {
  const uint8_t* const qs = b.qs + g / 4 * 32;
  for (int i = 0; i < 32; ++i) out.q[i] = i8((qs[i] >> (g % 4 * 2)) & 3);
  const float d = f16_to_f32(b.d), dmin = f16_to_f32(b.dmin);
  for (int h = 0; h < 2; ++h) {
    const uint8_t s = b.scales[2 * g + h];
    out.scale[h] = d * static_cast<float>(s & 15);
    out.min[h] = dmin * static_cast<float>(s >> 4);
  }
}

// As Q2_K, and bit g of hmask is bit 2, here the other way round: 0 takes 4 away. Scales of 6 bits less 32:
// four bits in the nibbles of scales[0..8), low ones first, two in scales[8..12).
inline void unpack(const BlockQ3_K& b, int g, Group& out) {
  const uint8_t* const qs = b.qs + g / 4 * 32;
  for (int i = 0; i < 32; ++i) {
    out.q[i] = i8(((qs[i] >> (g % 4 * 2)) & 3) + ((b.hmask[i] >> g) & 1) * 4 - 4);
  }
  const float d = f16_to_f32(b.d);
  for (int h = 0; h < 2; ++h) {
    const int s = 2 * g + h;
    const int low = (b.scales[s % 8] >> (s / 8 * 4)) & 15, high = (b.scales[8 + s % 4] >> (s / 4 * 2)) & 3;
    out.scale[h] = d * static_cast<float>((low | high << 4) - 32);
    out.min[h] = 0.0f;
  }
}

// Eight scales and eight minima of 6 bits in 12 bytes: the first four of each whole in the low bits of bytes
// 0-3 and 4-7; the others' low nibbles side by side in bytes 8-11, their upper two bits at the top of bytes
// 0-7.
inline void unpack_scale_min(const uint8_t* packed, int g, int* scale, int* min) {
  if (g < 4) {
    *scale = packed[g] & 63;
    *min = packed[g + 4] & 63;
  } else {
    *scale = (packed[g + 4] & 15) | (packed[g - 4] >> 6) << 4;
    *min = packed[g + 4] >> 4 | (packed[g] >> 6) << 4;
  }
}

inline void set_scale_min(uint16_t d, uint16_t dmin, const uint8_t* packed, int g, Group& out) {
  int scale = 0, min = 0;
  unpack_scale_min(packed, g, &scale, &min);
  set_scale(out, f16_to_f32(d) * static_cast<float>(scale), f16_to_f32(dmin) * static_cast<float>(min));
}

// 32 bytes hold two groups: the even one in the low nibbles.
inline void unpack(const BlockQ4_K& b, int g, Group& out) {
  const uint8_t* const qs = b.qs + g / 2 * 32;
  for (int i = 0; i < 32; ++i) out.q[i] = i8((qs[i] >> (g % 2 * 4)) & 15);
  set_scale_min(b.d, b.dmin, b.scales, g, out);
}

// As Q4_K, and bit g of qh[i] is bit 4.
inline void unpack(const BlockQ5_K& b, int g, Group& out) {
  const uint8_t* const qs = b.qs + g / 2 * 32;
  for (int i = 0; i < 32; ++i) out.q[i] = i8(((qs[i] >> (g % 2 * 4)) & 15) | ((b.qh[i] >> g) & 1) << 4);
  set_scale_min(b.d, b.dmin, b.scales, g, out);
}

// Each half of 128: 64 bytes of low nibbles (groups 0 and 1 in the low ones, 2 and 3 in the high ones) and 32
// bytes of which bits 2j and 2j + 1 belong to group j.
inline void unpack(const BlockQ6_K& b, int g, Group& out) {
  const uint8_t* const ql = b.ql + g / 4 * 64 + g % 2 * 32;
  const uint8_t* const qh = b.qh + g / 4 * 32;
  const int low_shift = g % 4 / 2 * 4, high_shift = g % 4 * 2;
  for (int i = 0; i < 32; ++i) {
    out.q[i] = i8((((ql[i] >> low_shift) & 15) | ((qh[i] >> high_shift) & 3) << 4) - 32);
  }
  const float d = f16_to_f32(b.d);
  for (int h = 0; h < 2; ++h) {
    out.scale[h] = d * static_cast<float>(b.scales[2 * g + h]);
    out.min[h] = 0.0f;
  }
}

inline void unpack(const BlockIQ4_XS& b, int g, Group& out) {
  look_up(b.qs + g * 16, kIQ4Values, out.q);
  const int low = (b.scales_l[g / 2] >> (g % 2 * 4)) & 15, high = (b.scales_h >> (2 * g)) & 3;
  set_scale(out, f16_to_f32(b.d) * static_cast<float>((low | high << 4) - 32));
}

// ---- codebooks

// Bit i of signs says that element i is negative. -x is the complement of x, plus one.
template <int kCount>
inline void put_signed(const int8_t* values, unsigned signs, int8_t* q) {
  const int8_t* const mask = kSignMasks.at[signs];
  for (int i = 0; i < kCount; ++i) q[i] = i8((values[i] ^ mask[i]) - mask[i]);
}

// Seven signs are stored; the eighth makes the number of minus signs even.
inline unsigned with_parity(unsigned signs) {
  unsigned parity = signs ^ (signs >> 4);
  parity ^= parity >> 2;
  parity ^= parity >> 1;
  return signs | (parity & 1u) << 7;
}

// d * (1/2 + s) / 4
inline float iq2_scale(uint16_t d, int s) { return f16_to_f32(d) * (0.5f + static_cast<float>(s)) * 0.25f; }

// Eight bytes for a group: four indices, then four times seven signs and four bits of scale.
inline void unpack(const BlockIQ2_XXS& b, int g, Group& out) {
  const uint16_t* const qs = b.qs + 4 * g;
  const uint32_t signs = qs[2] | static_cast<uint32_t>(qs[3]) << 16;
  for (int l = 0; l < 4; ++l) {
    const int index = (qs[l / 2] >> (l % 2 * 8)) & 255;
    put_signed<8>(kGridIQ2_XXS.at[index], with_parity((signs >> (7 * l)) & 127), out.q + 8 * l);
  }
  set_scale(out, iq2_scale(b.d, static_cast<int>(signs >> 28)));
}

// 16 bits for 8 elements: index of 9, signs of 7. A nibble of scale for 16 elements.
inline void unpack(const BlockIQ2_XS& b, int g, Group& out) {
  for (int l = 0; l < 4; ++l) {
    const unsigned q = b.qs[4 * g + l];
    put_signed<8>(kGridIQ2_XS.at[q & 511], with_parity(q >> 9), out.q + 8 * l);
  }
  set_scale(out, 0.0f);
  out.scale[0] = iq2_scale(b.d, b.scales[g] & 15);
  out.scale[1] = iq2_scale(b.d, b.scales[g] >> 4);
}

// The index's bits 8 and 9 are in qh, all eight signs apart.
inline void unpack(const BlockIQ2_S& b, int g, Group& out) {
  for (int l = 0; l < 4; ++l) {
    const int index = b.qs[4 * g + l] | ((b.qh[g] >> (2 * l)) & 3) << 8;
    put_signed<8>(kGridIQ2_S.at[index], b.signs[4 * g + l], out.q + 8 * l);
  }
  set_scale(out, 0.0f);
  out.scale[0] = iq2_scale(b.d, b.scales[g] & 15);
  out.scale[1] = iq2_scale(b.d, b.scales[g] >> 4);
}

// An index for 4 elements; behind all indices, for each group, four times seven signs and four bits of scale.
inline void unpack(const BlockIQ3_XXS& b, int g, Group& out) {
  const uint32_t signs = b.signs_and_scales[2 * g] | static_cast<uint32_t>(b.signs_and_scales[2 * g + 1])
                                                         << 16;
  for (int l = 0; l < 8; ++l) {
    const unsigned eight = with_parity((signs >> (l / 2 * 7)) & 127);
    put_signed<4>(kGridIQ3_XXS.at[b.qs[8 * g + l]], eight >> (l % 2 * 4), out.q + 4 * l);
  }
  set_scale(out, f16_to_f32(b.d) * (0.5f + static_cast<float>(signs >> 28)) * 0.5f);
}

// The index's bit 8 is in qh, all eight signs apart, a nibble of scale for a group.
inline void unpack(const BlockIQ3_S& b, int g, Group& out) {
  for (int l = 0; l < 8; ++l) {
    const int index = b.qs[8 * g + l] | ((b.qh[g] >> l) & 1) << 8;
    put_signed<4>(kGridIQ3_S.at[index], b.signs[4 * g + l / 2] >> (l % 2 * 4) & 15u, out.q + 4 * l);
  }
  set_scale(out, f16_to_f32(b.d) * static_cast<float>(1 + 2 * ((b.scales[g / 2] >> (g % 2 * 4)) & 15)));
}

// The IQ1 types add 1/8 to -1, 0, 1, or take it away. In eighths all is whole.
inline void put_eighths(const int8_t* values, bool minus, int8_t* q) {
  for (int i = 0; i < 8; ++i) q[i] = i8(values[i] * 8 + (minus ? -1 : 1));
}

// qh: the indices' bits 8 to 10, three for each, then three bits of scale, then whether 1/8 is taken away.
inline void unpack(const BlockIQ1_S& b, int g, Group& out) {
  const int h = b.qh[g];
  for (int l = 0; l < 4; ++l) {
    const int index = b.qs[4 * g + l] | ((h >> (3 * l)) & 7) << 8;
    put_eighths(kGridIQ1.at[index], (h & 0x8000) != 0, out.q + 8 * l);
  }
  set_scale(out, f16_to_f32(b.d) * static_cast<float>(2 * ((h >> 12) & 7) + 1) * 0.125f);
}

// A nibble of qh for 8 elements: the index's bits 8 to 10, and whether 1/8 is taken away. scales: three bits
// for 16 elements, four times in each of the four; their topmost nibbles together are d.
inline void unpack(const BlockIQ1_M& b, int g, Group& out) {
  for (int l = 0; l < 4; ++l) {
    const int h = b.qh[2 * g + l / 2] >> (l % 2 * 4);
    put_eighths(kGridIQ1.at[b.qs[4 * g + l] | (h & 7) << 8], (h & 8) != 0, out.q + 8 * l);
  }
  const int d =
      b.scales[0] >> 12 | (b.scales[1] >> 12) << 4 | (b.scales[2] >> 12) << 8 | (b.scales[3] >> 12) << 12;
  for (int h = 0; h < 2; ++h) {
    const int s = (b.scales[g / 2] >> (g % 2 * 6 + h * 3)) & 7;
    out.scale[h] = f16_to_f32(static_cast<uint16_t>(d)) * static_cast<float>(2 * s + 1) * 0.125f;
    out.min[h] = 0.0f;
  }
}

}  // namespace
}  // namespace pl

// The blocks of quantized tensors, as they lie in files. 16-bit floats are their bits; see half.h. What the
// fields mean is said once, where they are read: unpack.h.
#pragma once

#include <cstdint>

namespace pl {

// ---- 32 elements

struct BlockQ4_0 {
  uint16_t d;
  uint8_t qs[16];
};
struct BlockQ4_1 {
  uint16_t d, m;
  uint8_t qs[16];
};
struct BlockQ5_0 {
  uint16_t d;
  uint8_t qh[4], qs[16];
};
struct BlockQ5_1 {
  uint16_t d, m;
  uint8_t qh[4], qs[16];
};
struct BlockQ8_0 {
  uint16_t d;
  int8_t qs[32];
};
struct BlockIQ4_NL {
  uint16_t d;
  uint8_t qs[16];
};
struct BlockMXFP4 {
  uint8_t e, qs[16];
};

// ---- 256 elements

struct BlockQ2_K {
  uint8_t scales[16], qs[64];
  uint16_t d, dmin;
};
struct BlockQ3_K {
  uint8_t hmask[32], qs[64], scales[12];
  uint16_t d;
};
struct BlockQ4_K {
  uint16_t d, dmin;
  uint8_t scales[12], qs[128];
};
struct BlockQ5_K {
  uint16_t d, dmin;
  uint8_t scales[12], qh[32], qs[128];
};
struct BlockQ6_K {
  uint8_t ql[128], qh[64];
  int8_t scales[16];
  uint16_t d;
};
struct BlockQ8_K {
  float d;
  int8_t qs[256];
  int16_t bsums[16];
};
struct BlockIQ4_XS {
  uint16_t d, scales_h;
  uint8_t scales_l[4], qs[128];
};
struct BlockIQ2_XXS {
  uint16_t d, qs[32];
};
struct BlockIQ2_XS {
  uint16_t d, qs[32];
  uint8_t scales[8];
};
struct BlockIQ2_S {
  uint16_t d;
  uint8_t qs[32], signs[32], qh[8], scales[8];
};
struct BlockIQ3_XXS {
  uint16_t d;
  uint8_t qs[64];
  uint16_t signs_and_scales[16];  // pairs make 32 bits, low half first
};
struct BlockIQ3_S {
  uint16_t d;
  uint8_t qs[64], qh[8], signs[32], scales[4];
};
struct BlockIQ1_S {
  uint16_t d;
  uint8_t qs[32];
  uint16_t qh[8];
};
struct BlockIQ1_M {
  uint8_t qs[32], qh[16];
  uint16_t scales[4];
};

static_assert(sizeof(BlockQ4_0) == 18 && sizeof(BlockQ4_1) == 20 && sizeof(BlockQ5_0) == 22);
static_assert(sizeof(BlockQ5_1) == 24 && sizeof(BlockQ8_0) == 34 && sizeof(BlockIQ4_NL) == 18 &&
              sizeof(BlockMXFP4) == 17);
static_assert(sizeof(BlockQ2_K) == 84 && sizeof(BlockQ3_K) == 110 && sizeof(BlockQ4_K) == 144);
static_assert(sizeof(BlockQ5_K) == 176 && sizeof(BlockQ6_K) == 210 && sizeof(BlockQ8_K) == 292);
static_assert(sizeof(BlockIQ4_XS) == 136 && sizeof(BlockIQ2_XXS) == 66 && sizeof(BlockIQ2_XS) == 74);
static_assert(sizeof(BlockIQ2_S) == 82 && sizeof(BlockIQ3_XXS) == 98 && sizeof(BlockIQ3_S) == 110);
static_assert(sizeof(BlockIQ1_S) == 50 && sizeof(BlockIQ1_M) == 56);

}  // namespace pl

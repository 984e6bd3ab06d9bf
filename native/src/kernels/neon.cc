// Kernels for aarch64 with NEON, which is part of every such processor and takes no flags: those on floats are in
// neon_float.h, products with quantized matrices in neon_int8.h. Everything but kFillNeon is in nameless namespaces,
// and no header with external inline functions is used, as in all files of kernels.
#if defined(__aarch64__)

#include "kernels.h"
#include "neon_float.h"
#include "neon_int8.h"

namespace pl {
namespace {

void quantize_act(const float* x, ActBlock* out, int64_t stride, int64_t n) {
  for (const float* const end = x + n; x < end; x += 32, out += stride) {
    float32x4_t v[8];
    uint32x4_t most = vdupq_n_u32(0);
    for (int k = 0; k < 8; ++k) {
      v[k] = vld1q_f32(x + 4 * k);
      most = vmaxq_u32(most, vreinterpretq_u32_f32(vabsq_f32(v[k])));
    }
    const uint32_t bits = vmaxvq_u32(most);
    const float largest = bits_to_f32(bits);
    const bool finite = bits < 0x7F800000u;
    if (!finite || !(largest >= 1e-30f)) {  // as in scalar.cc
      const float d = finite ? 0.0f : __builtin_nanf("");
      *out = {}, out->d = out->d_sum = d;
      continue;
    }
    const float inverse = 127.0f / largest;
    int16x8_t q[4];
    for (int k = 0; k < 4; ++k) {
      const int32x4_t low = vcvtnq_s32_f32(vmulq_n_f32(v[2 * k], inverse));
      const int32x4_t high = vcvtnq_s32_f32(vmulq_n_f32(v[2 * k + 1], inverse));
      q[k] = vcombine_s16(vmovn_s32(low), vmovn_s32(high));
    }
    for (int h = 0; h < 2; ++h) {
      vst1q_s8(out->q + 16 * h, vcombine_s8(vmovn_s16(q[2 * h]), vmovn_s16(q[2 * h + 1])));
      const int16x8_t sums = vaddq_s16(q[2 * h], q[2 * h + 1]);
      const int16x8_t pairs = vpaddq_s16(sums, sums);
      out->minus_pairs16[h][0] = static_cast<int16_t>(-vgetq_lane_s16(pairs, 0) - vgetq_lane_s16(pairs, 2));
      out->minus_pairs16[h][1] = static_cast<int16_t>(-vgetq_lane_s16(pairs, 1) - vgetq_lane_s16(pairs, 3));
      out->minus_sum16[h] = out->minus_pairs16[h][0] + out->minus_pairs16[h][1];
    }
    for (int k = 0; k < 2; ++k) {
      out->minus_pairs[k] = static_cast<int16_t>(out->minus_pairs16[0][k] + out->minus_pairs16[1][k]);
    }
    out->d = largest / 127.0f;
    out->minus_sum = out->minus_sum16[0] + out->minus_sum16[1];
    out->d_sum = out->d * static_cast<float>(-out->minus_sum);
  }
}

}  // namespace

const Fill kFillNeon = [](Kernels& table) {
  fill_neon_int8(table);
  fill_neon_float(table);
  table.quantize_act = quantize_act;
};

}  // namespace pl

#endif

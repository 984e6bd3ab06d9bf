// Kernels on floats for aarch64 with NEON, which all of them have. To be included by neon.cc only: in a nameless
// namespace, as avx2_float.h, which does the same by the same steps, four floats at a time for its eight.
#pragma once

#include <arm_neon.h>

#include "../quant/half.h"
#include "kernels.h"
#include "multiply_rows.h"
#include "neon_half.h"

namespace pl {
namespace {

// ---- help

inline float32x4_t halves_at(const uint16_t* p) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }
inline uint16x4_t to_halves(float32x4_t x) { return vreinterpret_u16_f16(vcvt_f16_f32(x)); }

// ---- float rows. Four running sums: an FMA takes about four cycles.

template <class Load, class LoadOne>
float dot_with(Load at, LoadOne one, const float* x, int64_t n) {
  float32x4_t s0 = vdupq_n_f32(0.0f), s1 = s0, s2 = s0, s3 = s0;
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    s0 = vfmaq_f32(s0, at(i), vld1q_f32(x + i));
    s1 = vfmaq_f32(s1, at(i + 4), vld1q_f32(x + i + 4));
    s2 = vfmaq_f32(s2, at(i + 8), vld1q_f32(x + i + 8));
    s3 = vfmaq_f32(s3, at(i + 12), vld1q_f32(x + i + 12));
  }
  for (; i + 4 <= n; i += 4) s0 = vfmaq_f32(s0, at(i), vld1q_f32(x + i));
  float rest = 0.0f;
  for (; i < n; ++i) rest += one(i) * x[i];
  return vaddvq_f32(vaddq_f32(vaddq_f32(s0, s1), vaddq_f32(s2, s3))) + rest;
}

float dot_f32(const float* a, const float* b, int64_t n) {
  return dot_with([a](int64_t i) { return vld1q_f32(a + i); }, [a](int64_t i) { return a[i]; }, b, n);
}
float dot_f16(const uint16_t* row, const float* x, int64_t n) {
  return dot_with([row](int64_t i) { return halves_at(row + i); }, [row](int64_t i) { return half_at(row[i]); }, x, n);
}
float mat_f32(const void* row, const void* act, int64_t n) {
  return dot_f32(static_cast<const float*>(row), static_cast<const float*>(act), n);
}
float mat_f16(const void* row, const void* act, int64_t n) {
  return dot_f16(static_cast<const uint16_t*>(row), static_cast<const float*>(act), n);
}
float mat_bf16(const void* row, const void* act, int64_t n) {
  const auto* w = static_cast<const uint16_t*>(row);
  const auto at = [w](int64_t i) { return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(w + i), 16)); };
  return dot_with(at, [w](int64_t i) { return bf16_to_f32(w[i]); }, static_cast<const float*>(act), n);
}

void axpy_f32(float* acc, float p, const float* row, int64_t n) {
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) vst1q_f32(acc + i, vfmaq_n_f32(vld1q_f32(acc + i), vld1q_f32(row + i), p));
  for (; i < n; ++i) acc[i] += p * row[i];
}

void row_to_f16(const float* x, uint16_t* out, int64_t n) {
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) vst1_u16(out + i, to_halves(vld1q_f32(x + i)));
  for (; i < n; ++i) out[i] = vget_lane_u16(to_halves(vdupq_n_f32(x[i])), 0);
}
void row_to_f32(const uint16_t* x, float* out, int64_t n) {
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) vst1q_f32(out + i, halves_at(x + i));
  for (; i < n; ++i) out[i] = half_at(x[i]);
}

// ---- exponentials

// e^x = 2^k * e^r with |r| <= ln(2) / 2, for which eight terms of the series err by 5e-9. NaN stays NaN.
inline float32x4_t exp4(float32x4_t x) {
  x = vmaxq_f32(vdupq_n_f32(-110.0f), vminq_f32(vdupq_n_f32(89.0f), x));
  const float32x4_t k = vrndnq_f32(vmulq_n_f32(x, 1.44269504f));
  // ln(2) in two parts, the first of few enough bits that its product with k is exact.
  float32x4_t r = vfmsq_f32(x, k, vdupq_n_f32(0.693145752f));
  r = vfmsq_f32(r, k, vdupq_n_f32(1.42860677e-6f));
  constexpr float kTerms[] = {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f};
  float32x4_t sum = vdupq_n_f32(1.0f / 5040);
  for (const float term : kTerms) sum = vfmaq_f32(vdupq_n_f32(term), sum, r);
  // 2^k as two factors, so that results may be denormal, or infinite.
  const int32x4_t whole = vcvtq_s32_f32(k);
  const int32x4_t first = vshrq_n_s32(whole, 1), second = vsubq_s32(whole, first);
  const auto power = [](int32x4_t e) {
    return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(e, vdupq_n_s32(127)), 23));
  };
  return vmulq_f32(vmulq_f32(sum, power(first)), power(second));
}

// out[i] = f(a[i], b[i]); at the end the rest in a vector filled with zeros. b may be null for 1.
template <class F>
inline void map(F f, const float* a, const float* b, float* out, int64_t n) {
  const float32x4_t one = vdupq_n_f32(1.0f);
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) vst1q_f32(out + i, f(vld1q_f32(a + i), b != nullptr ? vld1q_f32(b + i) : one));
  if (i == n) return;
  float rest_a[4] = {}, rest_b[4] = {}, result[4];
  for (int64_t k = i; k < n; ++k) {
    rest_a[k - i] = a[k];
    rest_b[k - i] = b != nullptr ? b[k] : 1.0f;
  }
  vst1q_f32(result, f(vld1q_f32(rest_a), vld1q_f32(rest_b)));
  for (int64_t k = i; k < n; ++k) out[k] = result[k - i];
}

// x / (1 + e^-y)
inline float32x4_t times_sigmoid(float32x4_t x, float32x4_t y) {
  return vdivq_f32(x, vaddq_f32(vdupq_n_f32(1.0f), exp4(vnegq_f32(y))));
}

void silu_mul(const float* gate, const float* up, float* out, int64_t n) {
  map([](float32x4_t g, float32x4_t u) { return vmulq_f32(times_sigmoid(g, g), u); }, gate, up, out, n);
}

// (1 + tanh(y)) / 2 is the sigmoid of 2y.
void gelu_tanh_mul(const float* gate, const float* up, float* out, int64_t n) {
  const auto gelu = [](float32x4_t x, float32x4_t u) {
    const float32x4_t cubic = vfmaq_n_f32(vdupq_n_f32(1.0f), vmulq_f32(x, x), 0.044715f);
    const float32x4_t y = vmulq_n_f32(vmulq_f32(x, cubic), 2.0f * 0.79788456080286536f);
    return vmulq_f32(times_sigmoid(x, y), u);
  };
  map(gelu, gate, up, out, n);
}

void swiglu_clamped(const float* gate, const float* up, float* out, int64_t n, float alpha, float limit) {
  const float32x4_t most = vdupq_n_f32(limit), least = vdupq_n_f32(-limit);
  const auto swiglu = [=](float32x4_t g, float32x4_t u) {
    g = vminq_f32(most, g);
    u = vmaxq_f32(least, vminq_f32(most, u));
    return vmulq_f32(times_sigmoid(g, vmulq_n_f32(g, alpha)), vaddq_f32(u, vdupq_n_f32(1.0f)));
  };
  map(swiglu, gate, up, out, n);
}

void rms_norm(const float* x, const float* weight, float* out, int64_t n, float eps) {
  float64x2_t low = vdupq_n_f64(0.0), high = low;
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) {
    const float32x4_t v = vld1q_f32(x + i);
    const float64x2_t a = vcvt_f64_f32(vget_low_f32(v)), b = vcvt_high_f64_f32(v);
    low = vfmaq_f64(low, a, a);
    high = vfmaq_f64(high, b, b);
  }
  double squares = vaddvq_f64(vaddq_f64(low, high));
  for (; i < n; ++i) squares += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  const double mean = squares / static_cast<double>(n) + static_cast<double>(eps);
  const auto factor = static_cast<float>(1.0 / __builtin_sqrt(mean));
  map([factor](float32x4_t v, float32x4_t w) { return vmulq_f32(vmulq_n_f32(v, factor), w); }, x, weight, out, n);
}

inline void fill_neon_float(Kernels& table) {
  table.mat[static_cast<uint32_t>(Type::F32)].multiply = multiply_rows<mat_f32, false>;
  table.mat[static_cast<uint32_t>(Type::F16)].multiply = multiply_rows<mat_f16, false>;
  table.mat[static_cast<uint32_t>(Type::BF16)].multiply = multiply_rows<mat_bf16, false>;
  table.rms_norm = rms_norm;
  table.silu_mul = silu_mul;
  table.gelu_tanh_mul = gelu_tanh_mul;
  table.swiglu_clamped = swiglu_clamped;
  table.f32_to_f16 = row_to_f16;
  table.f16_to_f32 = row_to_f32;
  table.axpy_f32 = axpy_f32;
}

}  // namespace
}  // namespace pl

// Kernels on floats for x86-64 with AVX2, FMA and F16C. To be included by files of kernels only, which are
// compiled with the flags for that: in a nameless namespace each has its own copy.
#pragma once

#include <immintrin.h>

#include "../quant/blocks.h"
#include "../quant/half.h"
#include "avx2_vector.h"
#include "kernels.h"
#include "vector_math.h"

namespace pl {
namespace {

// ---- help

inline float add_up(__m256 v) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

inline __m128i load16(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
inline float half_at(uint16_t h) { return _cvtsh_ss(h); }
inline __m256 halves_at(const uint16_t* p) { return _mm256_cvtph_ps(load16(p)); }

void axpy_f32(float* acc, float p, const float* row, int64_t n) {
  const __m256 factor = _mm256_set1_ps(p);
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    _mm256_storeu_ps(acc + i, _mm256_fmadd_ps(factor, _mm256_loadu_ps(row + i), _mm256_loadu_ps(acc + i)));
  }
  for (; i < n; ++i) acc[i] += p * row[i];
}


void row_to_f16(const float* x, uint16_t* out, int64_t n) {
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), _mm256_cvtps_ph(_mm256_loadu_ps(x + i), 0));
  }
  for (; i < n; ++i) out[i] = static_cast<uint16_t>(_cvtss_sh(x[i], 0));
}
void row_to_f32(const uint16_t* x, float* out, int64_t n) {
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) _mm256_storeu_ps(out + i, halves_at(x + i));
  for (; i < n; ++i) out[i] = half_at(x[i]);
}

// ---- rows

// out[i] = f(a[i], b[i]); at the end the rest in a vector filled with zeros. b may be null for 1.
template <class F>
inline void map(F f, const float* a, const float* b, float* out, int64_t n) {
  const __m256 one = _mm256_set1_ps(1.0f);
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    _mm256_storeu_ps(out + i, f(_mm256_loadu_ps(a + i), b != nullptr ? _mm256_loadu_ps(b + i) : one));
  }
  if (i == n) return;
  float rest_a[8] = {}, rest_b[8] = {}, result[8];
  for (int64_t k = i; k < n; ++k) {
    rest_a[k - i] = a[k];
    rest_b[k - i] = b != nullptr ? b[k] : 1.0f;
  }
  _mm256_storeu_ps(result, f(_mm256_loadu_ps(rest_a), _mm256_loadu_ps(rest_b)));
  for (int64_t k = i; k < n; ++k) out[k] = result[k - i];
}

// x / (1 + e^-y)
inline __m256 times_sigmoid(__m256 x, __m256 y) {
  const __m256 one = _mm256_set1_ps(1.0f);
  return _mm256_div_ps(x, _mm256_add_ps(one, exponential<Avx2>(_mm256_sub_ps(_mm256_setzero_ps(), y))));
}

void silu_mul(const float* gate, const float* up, float* out, int64_t n) {
  map([](__m256 g, __m256 u) { return _mm256_mul_ps(times_sigmoid(g, g), u); }, gate, up, out, n);
}

// (1 + tanh(y)) / 2 is the sigmoid of 2y.
void gelu_tanh_mul(const float* gate, const float* up, float* out, int64_t n) {
  const auto gelu = [](__m256 x, __m256 u) {
    const __m256 cubic =
        _mm256_fmadd_ps(_mm256_mul_ps(x, x), _mm256_set1_ps(0.044715f), _mm256_set1_ps(1.0f));
    const __m256 y = _mm256_mul_ps(_mm256_mul_ps(x, cubic), _mm256_set1_ps(2.0f * 0.79788456080286536f));
    return _mm256_mul_ps(times_sigmoid(x, y), u);
  };
  map(gelu, gate, up, out, n);
}

void swiglu_clamped(const float* gate, const float* up, float* out, int64_t n, float alpha, float limit) {
  const __m256 most = _mm256_set1_ps(limit), least = _mm256_set1_ps(-limit);
  const auto swiglu = [=](__m256 g, __m256 u) {
    g = _mm256_min_ps(most, g);
    u = _mm256_max_ps(least, _mm256_min_ps(most, u));
    const __m256 gated = times_sigmoid(g, _mm256_mul_ps(g, _mm256_set1_ps(alpha)));
    return _mm256_mul_ps(gated, _mm256_add_ps(u, _mm256_set1_ps(1.0f)));
  };
  map(swiglu, gate, up, out, n);
}

void rms_norm(const float* x, const float* weight, float* out, int64_t n, float eps) {
  __m256d low = _mm256_setzero_pd(), high = _mm256_setzero_pd();
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const __m256 v = _mm256_loadu_ps(x + i);
    const __m256d a = _mm256_cvtps_pd(_mm256_castps256_ps128(v)),
                  b = _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1));
    low = _mm256_fmadd_pd(a, a, low);
    high = _mm256_fmadd_pd(b, b, high);
  }
  double lanes[4];
  _mm256_storeu_pd(lanes, _mm256_add_pd(low, high));
  double squares = (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]);
  for (; i < n; ++i) squares += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  const double mean = squares / static_cast<double>(n) + static_cast<double>(eps);
  const __m256 factor = _mm256_set1_ps(static_cast<float>(1.0 / __builtin_sqrt(mean)));
  map([factor](__m256 v, __m256 w) { return _mm256_mul_ps(_mm256_mul_ps(v, factor), w); }, x, weight, out, n);
}

inline void fill_avx2_float(Kernels& table) {
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

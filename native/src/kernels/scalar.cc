// Every kernel in plain C++: the specification of the table, and what runs where nothing faster does.
#include <cmath>
#include <limits>

#include "../quant/dequant.h"
#include "../quant/half.h"
#include "../quant/unpack.h"
#include "kernels.h"
#include "multiply_rows.h"
#include "scalar_attention.h"

namespace pl {
namespace {

// ---- sums. Sixteen running sums, added up pairwise at the end: that order is independent of everything but n,
// more exact than one running sum, and what vectors do.

constexpr int kLanes = 16;

float add_up(const float* lanes) {
  float sum[kLanes / 2];
  for (int i = 0; i < kLanes / 2; ++i) sum[i] = lanes[i] + lanes[i + kLanes / 2];
  for (int width = kLanes / 4; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) sum[i] += sum[i + width];
  }
  return sum[0];
}

// Σ at(i) * x[i]
template <class At>
float dot_with(At at, const float* x, int64_t n) {
  float lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int k = 0; k < kLanes; ++k) lanes[k] += at(i + k) * x[i + k];
  }
  for (int k = 0; i < n; ++i, ++k) lanes[k] += at(i) * x[i];
  return add_up(lanes);
}

float dot_f32(const float* a, const float* b, int64_t n) {
  return dot_with([a](int64_t i) { return a[i]; }, b, n);
}
float dot_f16(const uint16_t* row, const float* x, int64_t n) {
  return dot_with([row](int64_t i) { return f16_to_f32(row[i]); }, x, n);
}
float dot_bf16(const uint16_t* row, const float* x, int64_t n) {
  return dot_with([row](int64_t i) { return bf16_to_f32(row[i]); }, x, n);
}

void axpy_f32(float* acc, float p, const float* row, int64_t n) {
  for (int64_t i = 0; i < n; ++i) acc[i] += p * row[i];
}


// ---- rows of a matrix

float mat_f32(const void* row, const void* act, int64_t n) {
  return dot_f32(static_cast<const float*>(row), static_cast<const float*>(act), n);
}
float mat_f16(const void* row, const void* act, int64_t n) {
  return dot_f16(static_cast<const uint16_t*>(row), static_cast<const float*>(act), n);
}
float mat_bf16(const void* row, const void* act, int64_t n) {
  return dot_bf16(static_cast<const uint16_t*>(row), static_cast<const float*>(act), n);
}

// Whole numbers are multiplied and added exactly within 16 elements, and the groups' results one after the
// other.
template <class Block, int kElements>
float mat_blocks(const void* row, const void* act, int64_t n) {
  const Block* b = static_cast<const Block*>(row);
  const auto* a = static_cast<const ActBlock*>(act);
  float total = 0.0f;
  Group w;
  for (int64_t i = 0; i < n; i += kElements, ++b) {
    for (int g = 0; g < kElements / 32; ++g, ++a) {
      unpack(*b, g, w);
      float group = 0.0f;
      for (int h = 0; h < 2; ++h) {
        int32_t sum = 0;
        for (int k = 16 * h; k < 16 * h + 16; ++k) sum += int{w.q[k]} * int{a->q[k]};
        group += w.scale[h] * static_cast<float>(sum) - w.min[h] * static_cast<float>(-a->minus_sum16[h]);
      }
      total += a->d * group;
    }
  }
  return total;
}

// Below this an activation counts as zero: 127 / x would leave the range of a float.
constexpr float kTiny = 1e-30f;

void quantize_act(const float* x, ActBlock* out, int64_t stride, int64_t n) {
  for (const float* const end = x + n; x < end; x += 32, out += stride) {
    uint32_t most = 0;  // magnitudes compare as their bits do, and those of infinities and NaNs are above all
    for (int i = 0; i < 32; ++i) {
      const uint32_t magnitude = f32_to_bits(x[i]) & 0x7FFFFFFFu;
      most = magnitude > most ? magnitude : most;
    }
    const float largest = bits_to_f32(most);
    const bool finite = most < 0x7F800000u;
    const float inverse = finite && largest >= kTiny ? 127.0f / largest : 0.0f;
    out->d = !finite ? std::numeric_limits<float>::quiet_NaN() : inverse == 0.0f ? 0.0f : largest / 127.0f;
    int32_t pairs[2][2] = {};
    for (int i = 0; i < 32; ++i) {
      // Adding 1.5 * 2^23 leaves no room for a fraction: it is rounded to nearest, ties to even.
      const float rounded = inverse == 0.0f ? 0.0f : (x[i] * inverse + 12582912.0f) - 12582912.0f;
      out->q[i] = static_cast<int8_t>(rounded);
      pairs[i / 16][i % 4 / 2] -= out->q[i];
    }
    for (int h = 0; h < 2; ++h) {
      out->minus_sum16[h] = pairs[h][0] + pairs[h][1];
      out->minus_pairs[h] = static_cast<int16_t>(pairs[0][h] + pairs[1][h]);
      for (int k = 0; k < 2; ++k) out->minus_pairs16[h][k] = static_cast<int16_t>(pairs[h][k]);
    }
    out->minus_sum = out->minus_sum16[0] + out->minus_sum16[1];
    out->d_sum = out->d * static_cast<float>(-out->minus_sum);
  }
}

// ---- norms: sums of a whole row in double, which costs little beside a matrix

void rms_norm(const float* x, const float* weight, float* out, int64_t n, float eps) {
  double squares = 0.0;
  for (int64_t i = 0; i < n; ++i) squares += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  const auto factor =
      static_cast<float>(1.0 / std::sqrt(squares / static_cast<double>(n) + static_cast<double>(eps)));
  for (int64_t i = 0; i < n; ++i) out[i] = x[i] * factor * (weight != nullptr ? weight[i] : 1.0f);
}

void layer_norm(const float* x, const float* weight, const float* bias, float* out, int64_t n, float eps) {
  double sum = 0.0, squares = 0.0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]);
  const double mean = sum / static_cast<double>(n);
  for (int64_t i = 0; i < n; ++i) {
    const double away = static_cast<double>(x[i]) - mean;
    squares += away * away;
  }
  const auto factor =
      static_cast<float>(1.0 / std::sqrt(squares / static_cast<double>(n) + static_cast<double>(eps)));
  for (int64_t i = 0; i < n; ++i) {
    const float normed = (x[i] - static_cast<float>(mean)) * factor;
    out[i] = normed * (weight != nullptr ? weight[i] : 1.0f) + (bias != nullptr ? bias[i] : 0.0f);
  }
}

void soft_cap(float* x, int64_t n, float cap) {
  for (int64_t i = 0; i < n; ++i) x[i] = cap * std::tanh(x[i] / cap);
}

// ---- activation functions

template <class F>
void activate(F f, const float* gate, const float* up, float* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = f(gate[i]) * (up != nullptr ? up[i] : 1.0f);
}

void silu_mul(const float* gate, const float* up, float* out, int64_t n) {
  activate([](float x) { return x / (1.0f + std::exp(-x)); }, gate, up, out, n);
}

void gelu_tanh_mul(const float* gate, const float* up, float* out, int64_t n) {
  constexpr float kRoot = 0.79788456080286536f;  // sqrt(2 / pi)
  activate([](float x) { return 0.5f * x * (1.0f + std::tanh(kRoot * (x + 0.044715f * x * x * x))); }, gate,
           up, out, n);
}

void gelu_erf_mul(const float* gate, const float* up, float* out, int64_t n) {
  activate([](float x) { return 0.5f * x * (1.0f + std::erf(x * 0.70710678118654752f)); }, gate, up, out, n);
}

void swiglu_clamped(const float* gate, const float* up, float* out, int64_t n, float alpha, float limit) {
  for (int64_t i = 0; i < n; ++i) {
    const float g = gate[i] > limit ? limit : gate[i];
    const float u = up[i] > limit ? limit : up[i] < -limit ? -limit : up[i];
    out[i] = g / (1.0f + std::exp(-alpha * g)) * (u + 1.0f);
  }
}

// ---- rotary positions

void rope_interleaved(float* x, const float* cos, const float* sin, int64_t n_rot) {
  for (int64_t i = 0; i < n_rot / 2; ++i) {
    const float a = x[2 * i], b = x[2 * i + 1];
    x[2 * i] = a * cos[i] - b * sin[i];
    x[2 * i + 1] = a * sin[i] + b * cos[i];
  }
}

void rope_halves(float* x, const float* cos, const float* sin, int64_t n_rot) {
  const int64_t half = n_rot / 2;
  for (int64_t i = 0; i < half; ++i) {
    const float a = x[i], b = x[i + half];
    x[i] = a * cos[i] - b * sin[i];
    x[i + half] = a * sin[i] + b * cos[i];
  }
}

// ---- elementwise

void add(const float* a, const float* b, float* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = a[i] + b[i];
}
void mul(const float* a, const float* b, float* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = a[i] * b[i];
}
void scale_by(float* x, float factor, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] *= factor;
}
void row_to_f16(const float* x, uint16_t* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = f32_to_f16(x[i]);
}
void row_to_f32(const uint16_t* x, float* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = f16_to_f32(x[i]);
}

template <Dot kDot>
void fill_float(Kernels& table, Type type) {
  table.mat[static_cast<uint32_t>(type)] = {false, multiply_rows<kDot, false>, dequantizer(type)};
}
template <Dot kDot>
void fill_int8(Kernels& table, Type type) {
  table.mat[static_cast<uint32_t>(type)] = {true, multiply_rows<kDot, true>, dequantizer(type)};
}

}  // namespace

const Fill kFillScalar = [](Kernels& table) {
  table.isa = "scalar";
  fill_float<mat_f32>(table, Type::F32);
  fill_float<mat_f16>(table, Type::F16);
  fill_float<mat_bf16>(table, Type::BF16);
  fill_int8<mat_blocks<BlockQ4_0, 32>>(table, Type::Q4_0);
  fill_int8<mat_blocks<BlockQ4_1, 32>>(table, Type::Q4_1);
  fill_int8<mat_blocks<BlockQ5_0, 32>>(table, Type::Q5_0);
  fill_int8<mat_blocks<BlockQ5_1, 32>>(table, Type::Q5_1);
  fill_int8<mat_blocks<BlockQ8_0, 32>>(table, Type::Q8_0);
  fill_int8<mat_blocks<BlockIQ4_NL, 32>>(table, Type::IQ4_NL);
  fill_int8<mat_blocks<BlockMXFP4, 32>>(table, Type::MXFP4);
  fill_int8<mat_blocks<BlockQ2_K, 256>>(table, Type::Q2_K);
  fill_int8<mat_blocks<BlockQ3_K, 256>>(table, Type::Q3_K);
  fill_int8<mat_blocks<BlockQ4_K, 256>>(table, Type::Q4_K);
  fill_int8<mat_blocks<BlockQ5_K, 256>>(table, Type::Q5_K);
  fill_int8<mat_blocks<BlockQ6_K, 256>>(table, Type::Q6_K);
  fill_int8<mat_blocks<BlockIQ4_XS, 256>>(table, Type::IQ4_XS);
  fill_int8<mat_blocks<BlockIQ2_XXS, 256>>(table, Type::IQ2_XXS);
  fill_int8<mat_blocks<BlockIQ2_XS, 256>>(table, Type::IQ2_XS);
  fill_int8<mat_blocks<BlockIQ2_S, 256>>(table, Type::IQ2_S);
  fill_int8<mat_blocks<BlockIQ3_XXS, 256>>(table, Type::IQ3_XXS);
  fill_int8<mat_blocks<BlockIQ3_S, 256>>(table, Type::IQ3_S);
  fill_int8<mat_blocks<BlockIQ1_S, 256>>(table, Type::IQ1_S);
  fill_int8<mat_blocks<BlockIQ1_M, 256>>(table, Type::IQ1_M);
  table.act_tile = 1;
  table.quantize_act = quantize_act;
  table.rms_norm = rms_norm;
  table.layer_norm = layer_norm;
  table.soft_cap = soft_cap;
  table.silu_mul = silu_mul;
  table.gelu_tanh_mul = gelu_tanh_mul;
  table.gelu_erf_mul = gelu_erf_mul;
  table.swiglu_clamped = swiglu_clamped;
  table.rope_interleaved = rope_interleaved;
  table.rope_halves = rope_halves;
  table.add = add;
  table.mul = mul;
  table.scale = scale_by;
  table.f32_to_f16 = row_to_f16;
  table.f16_to_f32 = row_to_f32;
  table.attend_block = attend_block;
  table.transpose_keys = transpose_keys;
  table.axpy_f32 = axpy_f32;
};

}  // namespace pl

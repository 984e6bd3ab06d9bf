// The kernels: scalar code against arithmetic in double, and every ISA that this machine has against the same
// and against scalar code. `kernels_test bench` also prints how fast the products are.
#include "../src/kernels/kernels.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "../src/cpu.h"
#include "../src/quant/half.h"
#include "../src/rng.h"
#include "check.h"
#include "random_blocks.h"

using pl::ActBlock;
using pl::Kernels;
using pl::Type;

void fill_emulated_vnni(Kernels& table);  // emulated_vnni.cc

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
const float kNaN = std::numeric_limits<float>::quiet_NaN();
const int64_t kSizes[] = {1,  2,  3,  7,  8,   9,   15,  16,  17,  31,  32,
                          33, 63, 64, 65, 100, 127, 128, 255, 256, 257, 1000};

void expect_near(const Kernels& k, const char* what, int64_t n, double found, double expected,
                 double tolerance) {
  if (std::fabs(found - expected) <= tolerance) return;
  check_failed(__FILE__, __LINE__,
               pl::text("%s %s, n = %lld: found %.9g, expected %.9g, tolerance %.3g", k.isa, what,
                        static_cast<long long>(n), found, expected, tolerance));
}

// Roughly normal, with an outlier here and there, as activations are.
std::vector<float> random_floats(int64_t n, uint64_t seed, bool outliers = false) {
  pl::Rng rng(seed);
  std::vector<float> out(static_cast<size_t>(n));
  for (float& x : out) {
    double sum = -3.0;
    for (int i = 0; i < 6; ++i) sum += rng.uniform();
    x = static_cast<float>(sum);
    if (outliers && rng.next() % 50 == 0) x *= 30.0f;
  }
  return out;
}

template <class T>
double d(T x) {
  return static_cast<double>(x);
}

// ---- matrices

std::vector<uint8_t> random_row(Type type, int64_t n, uint64_t seed) {
  if (type == Type::F32 || type == Type::F16 || type == Type::BF16) {
    const std::vector<float> x = random_floats(n, seed);
    std::vector<uint8_t> out(static_cast<size_t>(n) * pl::info(type).block_bytes);
    for (size_t i = 0; i < x.size(); ++i) {
      const uint16_t half =
          type == Type::F16 ? pl::f32_to_f16(x[i]) : static_cast<uint16_t>(pl::f32_to_bits(x[i]) >> 16);
      if (type == Type::F32)
        std::memcpy(&out[4 * i], &x[i], 4);
      else
        std::memcpy(&out[2 * i], &half, 2);
    }
    return out;
  }
  return random_blocks(type, n / pl::info(type).block_elements, seed);
}

// Activations as the kernels of `k` want them: in tiles.
std::vector<ActBlock> quantized(const Kernels& k, const std::vector<float>& x, int64_t tokens) {
  const int64_t cols = static_cast<int64_t>(x.size()) / tokens, blocks = cols / 32;
  std::vector<ActBlock> out(static_cast<size_t>(tokens * blocks));
  for (int64_t t = 0; t < tokens; ++t) {
    const int64_t in_tile = t % k.act_tile, width = std::min(k.act_tile, tokens - (t - in_tile));
    k.quantize_act(x.data() + t * cols, out.data() + (t - in_tile) * blocks + in_tile, width, cols);
  }
  return out;
}

// out(t, r) of `rows` rows and `tokens` tokens.
std::vector<float> multiplied(const Kernels& k, Type type, const std::vector<uint8_t>& w, int64_t rows,
                              const std::vector<float>& x, int64_t tokens) {
  const pl::MatType& mat = pl::mat_type(k, type);
  const int64_t cols = static_cast<int64_t>(x.size()) / tokens;
  const std::vector<ActBlock> act = mat.int8_activations ? quantized(k, x, tokens) : std::vector<ActBlock>();
  std::vector<float> out(static_cast<size_t>(rows * tokens), kNaN);
  mat.multiply({reinterpret_cast<const std::byte*>(w.data()), static_cast<int64_t>(w.size()) / rows, rows, cols, act.data(),
                x.data(), tokens, out.data(), rows});
  return out;
}

float dot(const Kernels& k, Type type, const std::vector<uint8_t>& row, const std::vector<float>& x) {
  return multiplied(k, type, row, 1, x, 1)[0];
}

void test_dot(const Kernels& k, const Kernels& scalar, Type type, int64_t n, uint64_t seed) {
  const pl::MatType& mat = pl::mat_type(k, type);
  const char* const name = pl::info(type).name;
  const std::vector<uint8_t> row = random_row(type, n, seed);
  const std::vector<float> x = random_floats(n, seed + 1, true);
  std::vector<float> w(x.size());
  mat.dequant(row.data(), w.data(), n);
  double exact = 0.0, magnitude = 0.0;
  for (size_t i = 0; i < x.size(); ++i) {
    exact += d(w[i]) * d(x[i]);
    magnitude += std::fabs(d(w[i]) * d(x[i]));
  }
  if (!mat.int8_activations) {
    expect_near(k, name, n, d(dot(k, type, row, x)), exact, 1e-6 * magnitude);
    return;
  }
  const std::vector<ActBlock> act = quantized(k, x, 1);
  double rounded = 0.0, allowed = 0.0, parts = 0.0;
  for (size_t b = 0; b < act.size(); ++b) {
    double largest = 0.0;
    for (size_t i = 32 * b; i < 32 * b + 32; ++i) {
      const double activation = d(act[b].d) * d(act[b].q[i - 32 * b]);
      rounded += d(w[i]) * activation;
      allowed += std::fabs(d(w[i])) * d(act[b].d) * 0.5001;  // half a step
      largest = std::max(largest, std::fabs(d(w[i])));
    }
    for (size_t i = 0; i < 32; ++i) parts += largest * std::fabs(d(act[b].d) * d(act[b].q[i]));
  }
  const double found = d(dot(k, type, row, x));
  expect_near(k, name, n, found, rounded, 2e-6 * parts);          // the product is right for what was rounded
  expect_near(k, name, n, found, exact, allowed + 2e-6 * parts);  // and rounding did what it may
  expect_near(k, name, n, found, d(dot(scalar, type, row, x)), 2e-6 * parts);
}

void test_dots(const Kernels& k, const Kernels& scalar) {
  uint64_t seed = 1;
  for (uint32_t number = 0; number < pl::kMatTypes; ++number) {
    if (k.mat[number].multiply == nullptr) continue;
    const auto type = static_cast<Type>(number);
    const int64_t block = pl::info(type).block_elements;
    if (block == 1) {
      for (const int64_t n : kSizes) test_dot(k, scalar, type, n, seed += 2);
    }
    for (const int64_t blocks : {1, 2, 3, 4, 5, 7, 8, 17}) {
      for (int again = 0; again < 10; ++again)
        test_dot(k, scalar, type, blocks * std::max<int64_t>(block, 32), seed += 2);
    }
  }
}

// Many rows and many tokens: each result is, to the bit, what one row and one token alone give.
void test_batches(const Kernels& k) {
  uint64_t seed = 1000;
  for (uint32_t number = 0; number < pl::kMatTypes; ++number) {
    if (k.mat[number].multiply == nullptr) continue;
    const auto type = static_cast<Type>(number);
    const int64_t block = std::max<int64_t>(pl::info(type).block_elements, 32);
    for (const int64_t cols : {block, 256 * 5 + block, int64_t{2560}}) {
      for (const int64_t rows : {1, 7, 16, 35}) {
        const std::vector<uint8_t> w = random_row(type, rows * cols, seed += 2);
        const size_t row_bytes = w.size() / static_cast<size_t>(rows);
        for (const int64_t tokens : {1, 2, 3, 4, 5, 8, 12, 13, 26}) {
          const std::vector<float> x = random_floats(tokens * cols, seed += 2, true);
          const std::vector<float> all = multiplied(k, type, w, rows, x, tokens);
          for (int64_t r = 0; r < rows; r += rows < 8 ? 1 : 5) {
            const auto at = w.begin() + r * static_cast<int64_t>(row_bytes);
            const std::vector<uint8_t> row(at, at + static_cast<int64_t>(row_bytes));
            for (int64_t t = 0; t < tokens; ++t) {
              const std::vector<float> one(x.begin() + t * cols, x.begin() + (t + 1) * cols);
              const float found = all[static_cast<size_t>(t * rows + r)], alone = dot(k, type, row, one);
              CHECK(std::memcmp(&found, &alone, 4) == 0);
            }
          }
        }
      }
    }
  }
}

// Weights and activations at the ends of their ranges: nothing may overflow on the way.
void test_extremes(const Kernels& k, const Kernels& scalar) {
  for (uint32_t number = 0; number < pl::kMatTypes; ++number) {
    if (!k.mat[number].int8_activations) continue;
    const auto type = static_cast<Type>(number);
    const int64_t n = 2 * static_cast<int64_t>(pl::info(type).block_elements);
    for (const int fill : {0x00, 0xFF, 0x80, 0x7F}) {
      std::vector<uint8_t> row = random_blocks(type, 2, 3);
      std::vector<uint8_t> full(row.size(), static_cast<uint8_t>(fill));
      int places[2];
      scale_places(type, places);
      const size_t size = pl::info(type).block_bytes;
      for (size_t at = 0; at < full.size(); at += size) {
        for (const int place : places) {
          if (place >= 0) std::memcpy(&full[at + static_cast<size_t>(place)], "\x00\x3C", 2);  // 1
        }
        if (type == Type::IQ1_M) full[at + 55] = static_cast<uint8_t>((full[at + 55] & 0x8F) | 0x30);
        if (type == Type::MXFP4) full[at] = 127;
      }
      for (const float sign : {1.0f, -1.0f}) {
        const std::vector<float> x(static_cast<size_t>(n), sign);
        std::vector<float> w(x.size());
        k.mat[number].dequant(full.data(), w.data(), n);
        double exact = 0.0, parts = 0.0;
        for (const float v : w) {
          exact += d(v) * d(sign);
          parts += std::fabs(d(v));
        }
        const double tolerance = 1e-5 * (parts + d(n) * 64.0);
        expect_near(k, pl::info(type).name, n, d(dot(k, type, full, x)), exact,
                    tolerance);
        expect_near(k, pl::info(type).name, n, d(dot(scalar, type, full, x)), exact,
                    tolerance);
      }
    }
  }
}

void test_quantize_act(const Kernels& k, const Kernels& scalar) {
  std::vector<float> x = random_floats(32 * 200, 5, true);
  for (size_t i = 0; i < 32; ++i) {
    x[i] = 0.0f;                                      // nothing
    x[32 + i] = 1e-40f;                               // denormal
    x[64 + i] = static_cast<float>(i) - 15.5f;        // many ties
    x[96 + i] = 3e38f * (i % 2 == 0 ? 1.0f : -1.0f);  // almost too large
    x[128 + i] = i == 17 ? kNaN : 1.0f;
    x[160 + i] = i == 31 ? -kInf : 1.0f;
    x[192 + i] = i == 3 ? -127.0f : (i % 5 == 0 ? 0.5f : -2.5f);  // ties at a scale of 1
    x[224 + i] = 2e-30f * static_cast<float>(i);
  }
  const auto n = static_cast<int64_t>(x.size());
  std::vector<ActBlock> a(x.size() / 32), s(x.size() / 32);
  k.quantize_act(x.data(), a.data(), 1, n);
  scalar.quantize_act(x.data(), s.data(), 1, n);
  for (size_t b = 0; b < a.size(); ++b) {
    CHECK(std::memcmp(&a[b].minus_sum, &s[b].minus_sum, sizeof(ActBlock) - 8) == 0);
    CHECK(a[b].d == s[b].d || (std::isnan(a[b].d) && std::isnan(s[b].d)));
    CHECK(a[b].d_sum == s[b].d_sum || (std::isnan(a[b].d_sum) && std::isnan(s[b].d_sum)));
    int sum = 0;
    for (int i = 0; i < 32; ++i) {
      const double error = std::fabs(d(x[32 * b + static_cast<size_t>(i)]) - d(a[b].d) * d(a[b].q[i]));
      sum += a[b].q[i];
      CHECK(a[b].q[i] >= -127);
      if (std::isfinite(a[b].d)) CHECK(error <= std::max(d(a[b].d) * 0.5001, 1e-30));
    }
    CHECK_EQ(sum, -a[b].minus_sum);
    CHECK_EQ(a[b].minus_sum16[0] + a[b].minus_sum16[1], a[b].minus_sum);
    if (std::isfinite(a[b].d)) CHECK_EQ(a[b].d_sum, a[b].d * static_cast<float>(sum));
  }
  CHECK(std::isnan(a[4].d) && std::isnan(a[5].d) && a[4].minus_sum == 0 && a[0].d == 0.0f && a[1].d == 0.0f);
  CHECK_EQ(int{a[6].q[1]}, -2);  // -2.5
  CHECK_EQ(int{a[6].q[0]}, 0);   // 0.5
}

// ---- the rest

void test_norms(const Kernels& k, int64_t n) {
  const std::vector<float> x = random_floats(n, 11, true), w = random_floats(n, 12), b = random_floats(n, 13);
  const size_t size = x.size();
  double squares = 0.0, sum = 0.0, variance = 0.0;
  for (const float v : x) squares += d(v) * d(v), sum += d(v);
  const double mean = sum / d(n);
  for (const float v : x) variance += (d(v) - mean) * (d(v) - mean) / d(n);
  std::vector<float> out(size);
  for (const bool weighted : {true, false}) {
    k.rms_norm(x.data(), weighted ? w.data() : nullptr, out.data(), n, 1e-5f);
    for (size_t i = 0; i < size; ++i) {
      const double expected = d(x[i]) / std::sqrt(squares / d(n) + 1e-5) * (weighted ? d(w[i]) : 1.0);
      expect_near(k, "rms_norm", n, d(out[i]), expected, 1e-6 * (1 + std::fabs(expected)));
    }
    k.layer_norm(x.data(), weighted ? w.data() : nullptr, weighted ? b.data() : nullptr, out.data(), n,
                 1e-5f);
    for (size_t i = 0; i < size; ++i) {
      const double normed = (d(x[i]) - mean) / std::sqrt(variance + 1e-5);
      const double expected = weighted ? normed * d(w[i]) + d(b[i]) : normed;
      expect_near(k, "layer_norm", n, d(out[i]), expected, 1e-5 * (1 + std::fabs(expected)));
    }
  }
  out = x;
  k.rms_norm(out.data(), w.data(), out.data(), n, 1e-5f);  // in place
  expect_near(k, "rms_norm in place", n, d(out[size - 1]),
              d(x[size - 1]) / std::sqrt(squares / d(n) + 1e-5) * d(w[size - 1]), 1e-5 * 30);
}

double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

void test_activations(const Kernels& k, int64_t n) {
  std::vector<float> g = random_floats(n, 31, true), u = random_floats(n, 32, true), out(g.size());
  if (n > 9) {
    g[0] = 0.0f, g[1] = -0.0f, g[2] = 100.0f, g[3] = -100.0f, g[4] = 1e-30f, g[5] = -88.0f, g[6] = 1e30f,
    g[7] = -20.0f;
    for (size_t i = 0; i < 8; ++i) u[i] = 1.0f;
  }
  using Function = void (*)(const float*, const float*, float*, int64_t);
  const auto check = [&](const char* name, Function f, double (*exact)(double)) {
    for (const bool gated : {true, false}) {
      f(g.data(), gated ? u.data() : nullptr, out.data(), n);
      for (size_t i = 0; i < g.size(); ++i) {
        const double expected = exact(d(g[i])) * (gated ? d(u[i]) : 1.0);
        // 1e-6 of what goes in: far below zero the result is a small difference.
        const double size = std::fabs(d(g[i]) * (gated ? d(u[i]) : 1.0));
        expect_near(k, name, n, d(out[i]), expected,
                    1e-6 * std::fabs(expected) + 3e-7 * std::min(size, 100.0));
      }
    }
  };
  check("silu", k.silu_mul, [](double x) { return x * sigmoid(x); });
  check("gelu_tanh", k.gelu_tanh_mul,
        [](double x) { return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); });
  check("gelu_erf", k.gelu_erf_mul, [](double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); });
  k.swiglu_clamped(g.data(), u.data(), out.data(), n, 1.702f, 7.0f);
  for (size_t i = 0; i < g.size(); ++i) {
    const double a = std::min(d(g[i]), 7.0), b = std::max(-7.0, std::min(d(u[i]), 7.0));
    expect_near(k, "swiglu_clamped", n, d(out[i]), a * sigmoid(1.702 * a) * (b + 1),
                1e-5 * (1 + std::fabs(a * b)));
  }
  out = g;
  k.soft_cap(out.data(), n, 30.0f);
  for (size_t i = 0; i < g.size(); ++i) {
    expect_near(k, "soft_cap", n, d(out[i]), 30 * std::tanh(d(g[i]) / 30), 1e-5);
  }
}

void test_rows(const Kernels& k, int64_t n) {
  const std::vector<float> a = random_floats(n, 41), b = random_floats(n, 42);
  const size_t size = a.size();
  std::vector<uint16_t> half(size);
  std::vector<float> wide(size), acc = b, sums(size), products(size);
  k.f32_to_f16(a.data(), half.data(), n);
  k.f16_to_f32(half.data(), wide.data(), n);
  for (size_t i = 0; i < size; ++i) {
    CHECK_EQ(half[i], pl::f32_to_f16(a[i]));
    CHECK_EQ(wide[i], pl::f16_to_f32(half[i]));
  }
  k.axpy_f32(acc.data(), 0.3f, a.data(), n);
  for (size_t i = 0; i < size; ++i)
    expect_near(k, "axpy_f32", n, d(acc[i]), d(b[i]) + d(0.3f) * d(a[i]), 1e-6);
  k.add(a.data(), b.data(), sums.data(), n);
  k.mul(a.data(), b.data(), products.data(), n);
  acc = a;
  k.scale(acc.data(), 3.0f, n);
  for (size_t i = 0; i < size; ++i) {
    CHECK_EQ(sums[i], a[i] + b[i]);
    CHECK_EQ(products[i], a[i] * b[i]);
    CHECK_EQ(acc[i], a[i] * 3.0f);
  }
}

// Some queries over a few blocks of keys, of which each sees its own part, against softmax in double; and each alone.
void test_attention(const Kernels& k, int64_t head_dim, int64_t value_dim, int64_t queries, float cap, bool sink,
                    float slope) {
  constexpr int64_t kKeys = pl::kAttentionKeys, kBlocks = 3;
  const int64_t stride = (value_dim + 15) / 16 * 16, all = kKeys * kBlocks - 5;
  const std::vector<float> keys = random_floats(kKeys * kBlocks * head_dim, 61), q = random_floats(queries * head_dim, 62, true);
  const std::vector<float> values = random_floats(kKeys * kBlocks * stride, 63);
  const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim)), start = sink ? 0.7f : -kInf;
  const auto run = [&](int64_t from, int64_t n, std::vector<float>& out) {
    std::vector<float> top(static_cast<size_t>(n), start), sum(static_cast<size_t>(n), sink ? 1.0f : 0.0f);
    std::vector<float> transposed(static_cast<size_t>(kKeys * head_dim));
    for (int64_t block = 0; block < kBlocks; ++block) {
      k.transpose_keys(keys.data() + block * kKeys * head_dim, head_dim, std::min(kKeys, all - block * kKeys), head_dim,
                       transposed.data());
      std::vector<pl::AttentionQuery> asked;
      for (int64_t i = 0; i < n; ++i) {
        const auto at = static_cast<size_t>(i);
        // Query i sees the keys [7 i, 100 + 5 i): the last blocks are nothing to some of them.
        const int64_t first = std::clamp<int64_t>(7 * (from + i) - block * kKeys, 0, kKeys);
        const int64_t end = std::clamp<int64_t>(std::min(all, 100 + 5 * (from + i)) - block * kKeys, first, kKeys);
        asked.push_back({q.data() + (from + i) * head_dim, out.data() + i * value_dim, &top[at], &sum[at], first, end, slope,
                         100 + 5 * (from + i) - block * kKeys});
      }
      k.attend_block({transposed.data(), values.data() + block * kKeys * stride, head_dim, value_dim, stride, scale, cap},
                     asked.data(), n);
    }
    for (int64_t i = 0; i < n * value_dim; ++i) out[static_cast<size_t>(i)] /= sum[static_cast<size_t>(i / value_dim)];
  };
  std::vector<float> out(static_cast<size_t>(queries * value_dim)), alone(static_cast<size_t>(value_dim));
  run(0, queries, out);
  for (int64_t i = 0; i < queries; ++i) {
    std::vector<double> expected(static_cast<size_t>(value_dim));
    double sum = sink ? std::exp(d(start)) : 0.0;
    for (int64_t j = 7 * i; j < std::min(all, 100 + 5 * i); ++j) {
      double score = 0.0;
      for (int64_t x = 0; x < head_dim; ++x) {
        score += d(q[static_cast<size_t>(i * head_dim + x)]) * d(keys[static_cast<size_t>(j * head_dim + x)]);
      }
      score *= d(scale);
      if (cap > 0) score = d(cap) * std::tanh(score / d(cap));
      score += d(slope) * d(j - (100 + 5 * i));
      sum += std::exp(score);
      for (size_t x = 0; x < expected.size(); ++x) {
        expected[x] += std::exp(score) * d(values[static_cast<size_t>(j * stride) + x]);
      }
    }
    std::fill(alone.begin(), alone.end(), 0.0f);
    run(i, 1, alone);
    for (size_t x = 0; x < expected.size(); ++x) {
      const float found = out[static_cast<size_t>(i * value_dim) + x];
      expect_near(k, "attention", head_dim, d(found), expected[x] / sum, 2e-5);
      CHECK(std::memcmp(&found, &alone[x], 4) == 0);
    }
  }
}

// Every half there is, and every float that lies between two of them.
void test_all_halves(const Kernels& k) {
  std::vector<uint16_t> all(65536), back(65536);
  std::vector<float> wide(65536);
  for (size_t h = 0; h < all.size(); ++h) all[h] = static_cast<uint16_t>(h);
  k.f16_to_f32(all.data(), wide.data(), 65536);
  k.f32_to_f16(wide.data(), back.data(), 65536);
  for (size_t h = 0; h < all.size(); ++h) {
    const float expected = pl::f16_to_f32(all[h]);
    CHECK(std::isnan(expected) ? std::isnan(wide[h]) : wide[h] == expected);
    if (!std::isnan(expected)) CHECK_EQ(back[h], all[h]);
  }
  for (size_t h = 0; h + 1 < 0x7C00; ++h) wide[h] = (pl::f16_to_f32(all[h]) + pl::f16_to_f32(all[h + 1])) / 2;
  k.f32_to_f16(wide.data(), back.data(), 0x7BFF);
  for (size_t h = 0; h + 1 < 0x7C00; ++h) CHECK_EQ(back[h], pl::f32_to_f16(wide[h]));
}

void test_rope(const Kernels& k) {
  const int64_t n = 10;
  std::vector<float> x = random_floats(n + 2, 51), cos(n / 2), sin(n / 2);
  for (size_t i = 0; i < n / 2; ++i)
    cos[i] = std::cos(static_cast<float>(i)), sin[i] = std::sin(static_cast<float>(i));
  for (const bool halves : {false, true}) {
    std::vector<float> y = x;
    (halves ? k.rope_halves : k.rope_interleaved)(y.data(), cos.data(), sin.data(), n);
    for (size_t i = 0; i < n / 2; ++i) {
      const size_t p = halves ? i : 2 * i, q = halves ? i + n / 2 : 2 * i + 1;
      expect_near(k, "rope", n, d(y[p]), d(x[p]) * d(cos[i]) - d(x[q]) * d(sin[i]), 1e-6);
      expect_near(k, "rope", n, d(y[q]), d(x[p]) * d(sin[i]) + d(x[q]) * d(cos[i]), 1e-6);
    }
    CHECK(y[n] == x[n] && y[n + 1] == x[n + 1]);
  }
}

void test_table() {
  CHECK_THROWS(pl::ErrorKind::kUsage, pl::make_kernels("sse9"));
  const Kernels k = pl::make_kernels(nullptr);
  for (uint32_t number = 0; number < 64; ++number) {
    const pl::TypeInfo* const type = pl::type_info(number);
    if (type == nullptr) continue;
    if (type->weights) {
      CHECK(pl::mat_type(k, type->type).dequant != nullptr);
      CHECK_EQ(k.mat[number].int8_activations, type->block_elements > 1);
    } else {
      CHECK_THROWS(pl::ErrorKind::kUnsupported, pl::mat_type(k, type->type));
    }
  }
  CHECK(&pl::kernels() == &pl::kernels());
}

void bench(const Kernels& k) {
  constexpr int64_t cols = 4096, rows = 64;
  for (uint32_t number = 0; number < pl::kMatTypes; ++number) {
    if (k.mat[number].multiply == nullptr) continue;
    const auto type = static_cast<Type>(number);
    const std::vector<uint8_t> w = random_row(type, cols * rows, 2);
    std::printf("%-11s %-8s", k.isa, pl::info(type).name);
    for (const int64_t tokens : {1, 2, 4, 8, 12, 96}) {
      const std::vector<float> x = random_floats(tokens * cols, 1);
      const std::vector<ActBlock> act = quantized(k, x, tokens);
      std::vector<float> out(static_cast<size_t>(rows * tokens));
      double best = 1e9;
      for (int again = 0; again < 10; ++again) {
        const auto start = std::chrono::steady_clock::now();
        k.mat[number].multiply({reinterpret_cast<const std::byte*>(w.data()), static_cast<int64_t>(w.size()) / rows, rows, cols,
                                act.data(), x.data(), tokens, out.data(), rows});
        best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
      }
      std::printf(" %7.1f", d(cols * rows * tokens) / best * 1e-9);
    }
    std::printf("  GMAC/s for 1, 2, 4, 8, 12 and 96 tokens\n");
  }
}

void test_all(const Kernels& k, const Kernels& scalar) {
  std::printf("%s\n", k.isa);
  test_dots(k, scalar);
  test_batches(k);
  test_extremes(k, scalar);
  test_quantize_act(k, scalar);
  for (const int64_t n : kSizes) {
    test_norms(k, n);
    test_activations(k, n);
    test_rows(k, n);
  }
  for (const int64_t dim : {2, 8, 20, 64, 100, 128}) {
    for (const int64_t queries : {1, 2, 5, 6, 7, 19}) test_attention(k, dim, dim == 20 ? 33 : dim, queries, 0.0f, queries % 2 == 0, 0.0f);
  }
  test_attention(k, 64, 64, 5, 20.0f, false, 0.0f);
  test_attention(k, 64, 64, 5, 0.0f, false, 0.05f);
  test_all_halves(k);
  test_rope(k);
}

}  // namespace

int main(int argc, char**) {
  const Kernels scalar = pl::make_kernels("scalar");
  test_table();
  for (const char* const isa : {"scalar", "avx2", "avx_vnni", "avx512", "avx512_vnni", "neon", "neon_dotprod", "neon_i8mm"}) {
    const Kernels k = pl::make_kernels(isa);
    if (std::strcmp(k.isa, isa) != 0) continue;  // not here
    test_all(k, scalar);
    if (argc > 1) bench(k);
  }
#if defined(__x86_64__)
  if (pl::cpu().avx2) {
    Kernels k = pl::make_kernels("avx2");
    fill_emulated_vnni(k);
    k.isa = "avx_vnni, emulated";
    test_all(k, scalar);
  }
#endif
  return check_failures();
}

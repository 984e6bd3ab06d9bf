// The kernels of floats, norms, activations, attention and rope: every ISA that this machine has against arithmetic in double.
#include <algorithm>
#include <limits>

#include "../src/quant/half.h"
#include "kernel_checks.h"

using pl::Kernels;

namespace {

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

std::vector<uint16_t> to_halves(const std::vector<float>& x) {
  std::vector<uint16_t> out(x.size());
  std::transform(x.begin(), x.end(), out.begin(), pl::f32_to_f16);
  return out;
}

// Floats that are halves.
std::vector<float> random_halves(int64_t n, uint32_t seed) {
  std::vector<float> x = random_floats(n, seed);
  for (float& v : x) v = pl::f16_to_f32(pl::f32_to_f16(v));
  return x;
}

// Some queries over a few blocks of keys, of which each sees its own part, against softmax in double; each alone; and in halves.
void test_attention(const Kernels& k, int64_t head_dim, int64_t value_dim, int64_t queries, float cap, bool sink,
                    float slope) {
  constexpr int64_t kKeys = pl::kAttentionKeys, kBlocks = 3;
  const int64_t stride = (value_dim + 15) / 16 * 16, all = kKeys * kBlocks - 5;
  const std::vector<float> keys = random_halves(kKeys * kBlocks * head_dim, 61), q = random_floats(queries * head_dim, 62, true);
  const std::vector<float> values = random_halves(kKeys * kBlocks * stride, 63);
  const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim)), start = sink ? 0.7f : -kInf;
  const auto run = [&](int64_t from, int64_t n, std::vector<float>& out, bool halves = false) {
    std::vector<float> top(static_cast<size_t>(n), start), sum(static_cast<size_t>(n), sink ? 1.0f : 0.0f);
    std::vector<float> transposed(static_cast<size_t>(kKeys * head_dim));
    for (int64_t block = 0; block < kBlocks; ++block) {
      const int64_t there = std::min(kKeys, all - block * kKeys);
      k.transpose_keys(keys.data() + block * kKeys * head_dim, head_dim, there, head_dim, transposed.data());
      for (int64_t i = 0; i < head_dim * kKeys; ++i) {
        // Where no key is there may be anything.
        if (i % kKeys >= there) transposed[static_cast<size_t>(i)] = std::numeric_limits<float>::quiet_NaN();
      }
      std::vector<pl::AttentionQuery> asked;
      for (int64_t i = 0; i < n; ++i) {
        const auto at = static_cast<size_t>(i);
        // Query i sees the keys [7 i, 100 + 5 i): the last blocks are nothing to some of them.
        const int64_t first = std::clamp<int64_t>(7 * (from + i) - block * kKeys, 0, kKeys);
        const int64_t end = std::clamp<int64_t>(std::min(all, 100 + 5 * (from + i)) - block * kKeys, first, kKeys);
        asked.push_back({q.data() + (from + i) * head_dim, out.data() + i * value_dim, &top[at], &sum[at], first, end, slope,
                         100 + 5 * (from + i) - block * kKeys});
      }
      const float* const block_values = values.data() + block * kKeys * stride;
      if (halves) {
        const std::vector<uint16_t> half_keys = to_halves(transposed), half_values = to_halves({block_values, block_values + kKeys * stride});
        k.attend_halves({half_keys.data(), half_values.data(), head_dim, value_dim, stride, scale, cap}, asked.data(), n);
      } else {
        k.attend_block({transposed.data(), block_values, head_dim, value_dim, stride, scale, cap}, asked.data(), n);
      }
    }
    for (int64_t i = 0; i < n * value_dim; ++i) out[static_cast<size_t>(i)] /= sum[static_cast<size_t>(i / value_dim)];
  };
  std::vector<float> out(static_cast<size_t>(queries * value_dim)), alone(static_cast<size_t>(value_dim));
  run(0, queries, out);
  if (k.attend_halves && stride == value_dim) {
    std::vector<float> same(out.size());
    run(0, queries, same, true);
    CHECK(std::memcmp(same.data(), out.data(), 4 * out.size()) == 0);
  }
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

void test_all(const Kernels& k) {
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

int main() {
  each_isa(test_all);
  return check_failures();
}

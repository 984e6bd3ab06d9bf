// The products with matrices: scalar code against arithmetic in double, and every ISA that this machine has against the same
// and against scalar code. `kernels_test bench` also prints how fast the products are.
#include <algorithm>
#include <chrono>

#include "../src/quant/half.h"
#include "kernel_checks.h"
#include "random_blocks.h"

using pl::ActBlock;
using pl::Kernels;
using pl::Type;

namespace {

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
      for (const int64_t rows : {1, 7, 16, 29, 35}) {  // of 29, a second panel is a part of one
        const std::vector<uint8_t> w = random_row(type, rows * cols, seed += 2);
        const size_t row_bytes = w.size() / static_cast<size_t>(rows);
        for (const int64_t tokens : {1, 2, 3, 4, 5, 8, 12, 13, 26, 70}) {
          if (tokens == 70 && rows < 35) continue;  // more than what is asked for ahead, and than the caches' share
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
  test_dots(k, scalar);
  test_batches(k);
  test_extremes(k, scalar);
  test_quantize_act(k, scalar);
}

}  // namespace

int main(int argc, char**) {
  const Kernels scalar = pl::make_kernels("scalar");
  test_table();
  each_isa([&](const Kernels& k) {
    test_all(k, scalar);
    if (argc > 1 && std::strchr(k.isa, ',') == nullptr) bench(k);  // what is emulated is not fast
  });
  return check_failures();
}

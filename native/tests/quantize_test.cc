// Quantizers: every instruction set gives the same bytes, for any number of blocks; what they write is read back near what
// it was; and what cannot be written is an error. NumPy and ggml are compared with in tests/native/test_quantizers.py.
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "../src/cpu.h"
#include "../src/quant/dequant.h"
#include "../src/quant/quantize.h"
#include "check.h"

using pl::Type;

namespace {

constexpr Type kTypes[] = {Type::F32,  Type::F16,  Type::BF16, Type::Q8_0, Type::Q4_0, Type::Q4_1,   Type::Q5_0,  Type::Q5_1,
                           Type::Q2_K, Type::Q3_K, Type::Q4_K, Type::Q5_K, Type::Q6_K, Type::IQ4_NL, Type::IQ4_XS};

// Numbers of several magnitudes, the same each time.
std::vector<float> numbers(size_t n, uint32_t seed) {
  std::vector<float> out(n);
  uint64_t state = seed;
  for (size_t i = 0; i < n; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const float unit = static_cast<float>(static_cast<int32_t>(state >> 32)) * 0x1.0p-31f;
    out[i] = unit * unit * unit * (i / 256 % 3 == 0 ? 0.01f : 1.0f);
  }
  return out;
}

std::vector<uint8_t> quantized(const pl::Quantizers& table, Type type, const std::vector<float>& x, int64_t cols,
                               const float* importance) {
  const pl::TypeInfo& facts = pl::info(type);
  std::vector<uint8_t> out(x.size() / facts.block_elements * facts.block_bytes);
  table.at[static_cast<uint32_t>(type)](x.data(), out.data(), static_cast<int64_t>(x.size()), cols, importance);
  return out;
}

void test_instruction_sets() {
  pl::Quantizers baseline{}, best = pl::quantizers();
  pl::fill_baseline(baseline);
  const std::vector<float> importance = [] {
    std::vector<float> w = numbers(256, 9);
    for (float& each : w) each = each * each + 0.01f;
    return w;
  }();
  for (const Type type : kTypes) {
    if (!baseline.at[static_cast<uint32_t>(type)]) continue;  // F16 is the kernels'
    for (const size_t blocks : {1u, 2u, 7u, 8u, 17u}) {
      const std::vector<float> x = numbers(blocks * 256, static_cast<uint32_t>(blocks));
      for (const float* weights : {static_cast<const float*>(nullptr), importance.data()}) {
        CHECK(quantized(baseline, type, x, 256, weights) == quantized(best, type, x, 256, weights));
      }
    }
  }
}

void test_round_trip() {
  for (const Type type : kTypes) {
    const pl::TypeInfo& facts = pl::info(type);
    const int64_t rows = 13, cols = 768;
    const std::vector<float> x = numbers(static_cast<size_t>(rows * cols), 3);
    std::vector<uint8_t> packed(static_cast<size_t>(rows * cols) / facts.block_elements * facts.block_bytes);
    for (const int threads : {1, 3}) {
      std::vector<uint8_t> out(packed.size());
      pl::requantize({Type::F32, type, x.data(), out.data(), rows, cols, nullptr, threads, nullptr});
      if (threads > 1) CHECK(out == packed);
      packed = out;
    }
    std::vector<float> back(x.size());
    pl::dequantize_row(type, packed.data(), back.data(), static_cast<int64_t>(back.size()));
    double off = 0.0, all = 0.0;
    for (size_t i = 0; i < x.size(); ++i) {
      off += std::pow(static_cast<double>(x[i] - back[i]), 2), all += std::pow(static_cast<double>(x[i]), 2);
    }
    const double most = type == Type::Q2_K ? 0.35 : type == Type::Q3_K ? 0.2 : 0.15;
    if (!(std::sqrt(off / all) < most)) check_failed(__FILE__, __LINE__, std::string(facts.name) + " is far off");
  }
}

void test_refusals() {
  std::vector<float> x(512);
  std::vector<uint8_t> out(4096);
  const auto run = [&](Type to, int64_t cols, const int32_t* abort = nullptr, const float* importance = nullptr) {
    pl::requantize({Type::F32, to, x.data(), out.data(), 1, cols, importance, 2, abort});
  };
  CHECK_THROWS(pl::ErrorKind::kUsage, run(Type::Q4_K, 128));
  CHECK_THROWS(pl::ErrorKind::kUnsupported, run(Type::IQ2_XXS, 256));
  CHECK_THROWS(pl::ErrorKind::kUnsupported, run(static_cast<Type>(4), 256));
  const int32_t stop = 1;
  CHECK_THROWS(pl::ErrorKind::kCancelled, run(Type::Q4_K, 512, &stop));
  const std::vector<float> negative(512, -1.0f);
  CHECK_THROWS(pl::ErrorKind::kUsage, run(Type::Q4_K, 512, nullptr, negative.data()));
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), 1e5f}) {
    x[511] = bad;
    CHECK_THROWS(pl::ErrorKind::kInvalidModel, run(Type::Q4_K, 512));
    CHECK_THROWS(pl::ErrorKind::kInvalidModel, run(Type::F16, 512));
  }
}

}  // namespace

int main() {
  test_instruction_sets();
  test_round_trip();
  test_refusals();
  return check_failures();
}

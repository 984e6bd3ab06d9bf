// Dequantization: against sums from the NumPy reference (tests/py/native/quant_reference.py compares bit by
// bit), and the small floats against arithmetic.
#include <cmath>
#include <cstdio>
#include <vector>

#include "../src/quant/dequant.h"
#include "../src/quant/half.h"
#include "check.h"
#include "random_blocks.h"

using pl::Type;

namespace {

struct Golden {
  Type type;
  double weighted;  // Σ x[i] * (37 i mod 101 - 50)
  double absolute;  // Σ |x[i]|
};

// Of 64 blocks from random_blocks(type, 64, 1000 + number of the type).
constexpr Golden kGolden[] = {
    {Type::Q4_0, -198.81656646728516, 346.4675064086914},
    {Type::Q4_1, 129.81121826171875, 626.7995300292969},
    {Type::Q5_0, 410.3133544921875, 547.8083267211914},
    {Type::Q5_1, -404.43251037597656, 1446.3630294799805},
    {Type::Q8_0, 7831.451522827148, 5117.490913391113},
    {Type::Q2_K, 2352.46240234375, 12544.64087677002},
    {Type::Q3_K, 2440.9816513061523, 23288.898513793945},
    {Type::Q4_K, -54976.394371032715, 184022.67475891113},
    {Type::Q5_K, 145823.96452331543, 395775.2783584595},
    {Type::Q6_K, 63057.00256347656, 740521.7383346558},
    {Type::IQ4_NL, -5147.141059875488, 5286.062675476074},
    {Type::IQ4_XS, 277733.3154678345, 628963.0657424927},
    {Type::MXFP4, 57722.306640625, 41924.1455078125},
    {Type::IQ2_XXS, 2826.24267578125, 26475.258476257324},
    {Type::IQ2_XS, 636.9335689544678, 23720.595063209534},
    {Type::IQ2_S, -3300.7731132507324, 32744.639749526978},
    {Type::IQ3_XXS, -21385.71044921875, 72419.82439041138},
    {Type::IQ3_S, -10755.374084472656, 65505.66264343262},
    {Type::IQ1_S, -798.2702655792236, 4230.86277961731},
    {Type::IQ1_M, -737.505895614624, 3798.4927730560303},
};

void test_golden() {
  for (const Golden& golden : kGolden) {
    const auto number = static_cast<uint32_t>(golden.type);
    const std::vector<uint8_t> blocks = random_blocks(golden.type, 64, 1000 + number);
    std::vector<float> x(64 * pl::info(golden.type).block_elements);
    pl::dequantize_row(golden.type, blocks.data(), x.data(), static_cast<int64_t>(x.size()));
    double weighted = 0.0, absolute = 0.0;
    for (size_t i = 0; i < x.size(); ++i) {
      weighted += static_cast<double>(x[i]) * (static_cast<double>(i * 37 % 101) - 50.0);
      absolute += std::fabs(static_cast<double>(x[i]));
    }
    const bool same = std::fabs(weighted - golden.weighted) <= 1e-6 * golden.absolute &&
                      std::fabs(absolute - golden.absolute) <= 1e-6 * golden.absolute;
    if (!same)
      check_failed(__FILE__, __LINE__,
                   std::string(pl::info(golden.type).name) + " differs from the reference");
  }
}

void test_types() {
  int weights = 0;
  for (uint32_t number = 0; number < 64; ++number) {
    const pl::TypeInfo* const type = pl::type_info(number);
    if (type == nullptr) continue;
    CHECK_EQ(static_cast<uint32_t>(type->type), number);
    CHECK_EQ(type->weights, pl::dequantizer(type->type) != nullptr);
    weights += type->weights;
  }
  CHECK_EQ(weights, 23);
  CHECK(pl::type_info(4) == nullptr && pl::type_info(UINT32_MAX) == nullptr);
  float out = 0.0f;
  CHECK_THROWS(pl::ErrorKind::kUnsupported, pl::dequantize_row(Type::I32, &out, &out, 1));
}

// What 16 bits say, by the definition of IEEE half precision.
double half_value(unsigned h) {
  const double sign = (h & 0x8000u) != 0 ? -1.0 : 1.0;
  const int exponent = static_cast<int>(h >> 10 & 31u);
  const double fraction = static_cast<double>(h & 1023u) / 1024.0;
  return sign * (exponent == 0 ? std::ldexp(fraction, -14) : std::ldexp(1.0 + fraction, exponent - 15));
}

void test_half() {
  for (unsigned h = 0; h < 65536; ++h) {
    const float x = pl::f16_to_f32(static_cast<uint16_t>(h));
    const bool special = (h & 0x7C00u) == 0x7C00u;
    if (!special) {
      CHECK_EQ(static_cast<double>(x), half_value(h));
      CHECK_EQ(std::signbit(x), (h & 0x8000u) != 0);
      CHECK_EQ(pl::f32_to_f16(x), h);
    } else {
      CHECK((h & 1023u) == 0 ? std::isinf(x) : std::isnan(x));
      if (std::isinf(x)) CHECK_EQ(pl::f32_to_f16(x), h);
      if (std::isnan(x)) CHECK(std::isnan(pl::f16_to_f32(pl::f32_to_f16(x))));
    }
    CHECK_EQ(pl::f32_to_bits(pl::bf16_to_f32(static_cast<uint16_t>(h))), h << 16);
  }
  // Halfway between neighbours goes to the even one, and beside it to the nearer.
  for (unsigned h = 0; h < 0x7BFFu; ++h) {
    const auto middle = static_cast<float>((half_value(h) + half_value(h + 1)) / 2);
    CHECK_EQ(pl::f32_to_f16(middle), (h & 1u) == 0 ? h : h + 1);
    CHECK_EQ(pl::f32_to_f16(std::nextafter(middle, 0.0f)), h);
    CHECK_EQ(pl::f32_to_f16(-std::nextafter(middle, 1e9f)), 0x8000u | (h + 1));
  }
  CHECK_EQ(pl::f32_to_f16(65519.0f), 0x7BFFu);
  CHECK_EQ(pl::f32_to_f16(65520.0f), 0x7C00u);
  CHECK_EQ(pl::f32_to_f16(1e38f), 0x7C00u);
  CHECK_EQ(pl::f32_to_f16(-1e-30f), 0x8000u);
  for (int e = 0; e < 255; ++e)
    CHECK_EQ(static_cast<double>(pl::e8m0_half(static_cast<uint8_t>(e))), std::ldexp(1.0, e - 128));
}

}  // namespace

int main() {
  test_golden();
  test_types();
  test_half();
  return check_failures();
}

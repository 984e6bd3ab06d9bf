// Q6_K times one token, row by row. See row_products.h for why; here 32 weights of one row fill a vector, as 16 of them have a
// scale of their own: one half of the vector, one scale. So no two rows are put together in one as they are read, and the sums
// of both halves are transposed in one go.
#pragma once

#include "row_products.h"

namespace pl {
namespace {

template <class V>
struct ByRows<V, FormatQ6_K<V>> {
  static constexpr bool kHas = V::kByRows && !V::kDot;  // dot products have no room for scales in whole numbers
  using I = typename V::I;

  // 32 weights of one row by the activations, in pairs: out[0] those of bits 0..3 of `low`, out[1] of bits 4..7.
  // `kUpper`: where the upper bits of the first lie in `high`; those of the second are four further up.
  template <int kUpper>
  static PL_INLINE void products(I low, I high, const I* a, I* out) {
    const I first = V::bit_or(field<V, 0>(low, 15), field<V, kUpper - 4>(high, 0x30));
    const I second = V::bit_or(field<V, 4>(low, 15), field<V, kUpper>(high, 0x30));
    out[0] = V::in_order(V::pair_products(first, a[0])), out[1] = V::in_order(V::pair_products(second, a[1]));
  }

  // Of rows 0..3 from `low`, `high` on: out[i] has a sum of pairs for each, of 16 weights in either half.
  template <int kUpper>
  static PL_INLINE void sums_of_four(const uint8_t* low, const uint8_t* high, int64_t stride, const I* a, I* out) {
    I of_two[2][2];
    PL_UNROLL for (int r = 0; r < 2; ++r) {
      I even[2], odd[2];
      products<kUpper>(V::load_ints(low + 2 * r * stride), V::load_ints(high + 2 * r * stride), a, even);
      products<kUpper>(V::load_ints(low + (2 * r + 1) * stride), V::load_ints(high + (2 * r + 1) * stride), a, odd);
      PL_UNROLL for (int i = 0; i < 2; ++i) of_two[r][i] = V::in_order(V::fold32(even[i], odd[i]));
    }
    PL_UNROLL for (int i = 0; i < 2; ++i) out[i] = V::fold64(of_two[0][i], of_two[1][i]);
  }

  // acc += step · a. ask(low, high, i) is called with group i.
  template <class Ask>
  static PL_INLINE void accumulate(const uint8_t* low, int64_t stride, int64_t, const ActBlock* a, typename V::F* acc, Ask ask) {
    const uint8_t* high = low + 4 * stride;
    V::keep(low, high);
    I scales[4], last[4];
    V::load_columns(low + 192, stride, scales);
    V::load_columns(low + 194, stride, last);
    const typename V::F d = V::high_half(last[3]);
    unroll<0, 2>([&](auto half) PL_LAMBDA {
      I sums[4];
      unroll<0, 2>([&](auto odd) PL_LAMBDA {
        constexpr int kLow = 64 * half.value + 32 * odd.value, kHigh = 128 + 32 * half.value, kUpper = 2 * odd.value;
        constexpr int kFirst = 4 * half.value + odd.value;  // groups kFirst and kFirst + 2 have their lower bits in the same bytes
        const I act[2] = {V::load_ints(a[kFirst].q), V::load_ints(a[kFirst + 2].q)};
        I of_low[2], of_high[2];
        ask(low, high, 4 * half.value + 2 * odd.value);
        sums_of_four<kUpper>(low + kLow, low + kHigh, stride, act, of_low);
        ask(low, high, 4 * half.value + 2 * odd.value + 1);
        sums_of_four<kUpper>(high + kLow, high + kHigh, stride, act, of_high);
        unroll<0, 2>([&](auto i) PL_LAMBDA {
          constexpr int kGroup = kFirst + 2 * i.value, kByte = kGroup % 2 * 2;
          const ActBlock& of = a[kGroup];
          const I zero = V::multiply16(V::in_halves(of.minus_pairs16[0], of.minus_pairs16[1]), V::words(FormatQ6_K<V>::kZero));
          const auto scale = [&](I rows) PL_LAMBDA { return V::template twice16<kByte, kByte + 1>(rows); };
          sums[odd.value + 2 * i.value] =
              V::add_halves(V::dot16(V::add16(of_low[i.value], zero), scale(V::low_halves(scales[kGroup / 2]))),
                            V::dot16(V::add16(of_high[i.value], zero), scale(V::high_halves(scales[kGroup / 2]))));
        });
      });
      PL_UNROLL for (int g = 0; g < 4; ++g) {
        *acc = V::multiply_add(V::multiply(V::to_float(sums[g]), d), V::floats_at(&a[4 * half.value + g].d), *acc);
      }
    });
  }
};

}  // namespace
}  // namespace pl

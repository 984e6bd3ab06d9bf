// Σ weights · activations in whole numbers, for one row in each lane: by dot products of four bytes where the processor has
// them (VNNI), else by products of two bytes added up in 16 bits.
//
// Both want unsigned weights, so a format's q is "lifted" where it has a sign, and what it is too high by (`zero`) times
// the sum of the activations is where each sum begins.
#pragma once

#include <type_traits>

#include "kernels.h"
#include "panel_formats.h"

namespace pl {
namespace {

// Whether |q - zero| <= `most` lets all products of a sum be added in 16 bits: 16 of them to a lane, or 8 with a scale for
// each half. What overflows on the way comes back, for the end fits. Activations are at most 127.
constexpr bool fits_16_bits(int most, bool halves) { return most * 127 * (halves ? 8 : 16) <= 32767; }

// Where weights with minima would not fit, they are taken as around their middle, and the minima say the rest.
template <class V, class Format>
constexpr int kMiddle = !V::kDot && Format::kMins && !fits_16_bits(Format::kMax, Format::kHalves) ? (Format::kMax + 1) / 2 : 0;

// What weights are too high by.
template <class V, class Format>
constexpr int kZeroOf = Format::kSigned && V::kDot ? 128 : Format::kZero + kMiddle<V, Format>;

template <class V, class Format>
PL_INLINE typename V::I lift(typename V::I q) {
  if constexpr (Format::kSigned && V::kDot) return V::bit_xor(q, V::bytes(-128));
  else return q;
}
template <class V, class Format>
PL_INLINE void lift_mins(const Quads<V>& quads, typename V::F* min) {
  if constexpr (Format::kMins) {
    PL_UNROLL for (int h = 0; h < (Format::kHalves ? 2 : 1); ++h) {
      min[h] = quads.min[h];
      if constexpr (kMiddle<V, Format> != 0) {
        min[h] = V::subtract_product(min[h], quads.scale[h], V::floats(static_cast<float>(kMiddle<V, Format>)));
      }
    }
  }
  static_assert(V::kDot || Format::kSigned ||
                (Format::kMax * 127 * 2 <= 32767 &&
                 fits_16_bits(kZeroOf<V, Format> > Format::kMax - kZeroOf<V, Format> ? kZeroOf<V, Format> : Format::kMax - kZeroOf<V, Format>,
                              Format::kHalves)));
}

// By dot products.
template <class V>
struct DotSum {
  typename V::I sum;
  template <bool kZero>
  PL_INLINE void start(int zero, const int32_t& minus_sum, const int16_t*) {
    if constexpr (kZero) sum = V::multiply(V::ints_at(&minus_sum), V::ints(zero));
    else sum = V::ints(0);
  }
  PL_INLINE void add(typename V::I w, const int8_t* four) { sum = V::dot(sum, w, V::ints_at(four)); }
  PL_INLINE typename V::I end() const { return sum; }
};

// By pairs, all of them in 16 bits.
template <class V>
struct PairSum {
  typename V::I pairs;
  template <bool kZero>
  PL_INLINE void start(int zero, const int32_t&, const int16_t* minus_pairs) {
    if constexpr (kZero) pairs = V::multiply16(V::ints_at(minus_pairs), V::words(zero));
    else pairs = V::ints(0);
  }
  PL_INLINE void add(typename V::I w, const int8_t* four) {
    pairs = V::in_order(V::add16(pairs, V::pair_products(w, V::ints_at(four))));
  }
  PL_INLINE typename V::I end() const { return V::widen(pairs); }
  PL_INLINE typename V::I times(typename V::I whole) const { return V::dot16(pairs, whole); }
};

// By pairs of signed weights, which fill 16 bits at once. Their signs are moved to the activations, which are never -128.
template <class V>
struct SignedPairSum {
  typename V::I sum;
  template <bool kZero>
  PL_INLINE void start(int, const int32_t&, const int16_t*) {
    static_assert(!kZero);
    sum = V::ints(0);
  }
  PL_INLINE void add(typename V::I w, const int8_t* four) {
    const typename V::I products = V::pair_products(V::magnitude(w), V::with_sign_of(w, V::ints_at(four)));
    sum = V::in_order(V::add(sum, V::widen(products)));
  }
  PL_INLINE typename V::I end() const { return sum; }
};

template <class V, bool kSigned>
using ByteSum = std::conditional_t<V::kDot, DotSum<V>, std::conditional_t<kSigned, SignedPairSum<V>, PairSum<V>>>;

}  // namespace
}  // namespace pl

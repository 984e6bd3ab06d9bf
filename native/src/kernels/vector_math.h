// Functions of vectors of floats, for every ISA that has a struct of vector operations.
#pragma once

#include "inlining.h"

namespace pl {
namespace {

// e^x = 2^k * e^r with |r| <= ln(2) / 2, for which eight terms of the series err by 5e-9. NaN stays NaN.
template <class V>
PL_INLINE typename V::F exponential(typename V::F x) {
  x = V::max(V::floats(-110.0f), V::min(V::floats(89.0f), x));
  const typename V::F k = V::round(V::multiply(x, V::floats(1.44269504f)));
  // ln(2) in two parts, the first of few enough bits that its product with k is exact.
  typename V::F r = V::subtract_product(x, k, V::floats(0.693145752f));
  r = V::subtract_product(r, k, V::floats(1.42860677e-6f));
  constexpr float kTerms[] = {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f};
  typename V::F sum = V::floats(1.0f / 5040);
  for (const float term : kTerms) sum = V::multiply_add(sum, r, V::floats(term));
  // 2^k as two factors, so that results may be denormal, or infinite.
  const typename V::I whole = V::to_int(k);
  const typename V::I first = V::template shift_right_signed<1>(whole), second = V::subtract(whole, first);
  const auto power = [](typename V::I e) PL_LAMBDA {
    return V::as_float(V::template shift_left<23>(V::add(e, V::ints(127))));
  };
  return V::multiply(V::multiply(sum, power(first)), power(second));
}

}  // namespace
}  // namespace pl

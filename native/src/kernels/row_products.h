// Quantized matrices times one token, for the formats that are decoded most: groups of weights row by row.
//
// A panel's lanes are rows (panel_formats.h), which takes a transposition of every weight, and shifts where a block does not begin at
// a multiple of four bytes. For one token that is most of the work. Here 16 bytes of rows j and j + 4 stand in the halves of
// vector j as they come from the file, and what is transposed are the sums of whole numbers, a quarter as many or fewer. Whole
// numbers may be added in any order; what follows in floats is a panel's arithmetic in a panel's order. So a token's result is
// to the last bit what it is in company.
#pragma once

#include "panel_formats.h"
#include "panel_sums.h"

namespace pl {
namespace {

// A step of 8 rows.
template <class V>
struct RowPairs {
  const uint8_t *low, *high;  // rows 0 and 4
  int64_t stride;
  template <int j>
  PL_INLINE typename V::I at(int64_t byte) const { return V::two_rows(low + j * stride + byte, high + j * stride + byte); }
};

// What a format needs for it: kTogether groups of 32 are cut out of the same bytes. `scales` gives those of group g of the step;
// `cut` the weights of rows j and j + 4, 16 to a vector: out[2i] and out[2i + 1] are group g + i.
template <class V, class Format>
struct InPairs {
  static constexpr bool kHas = false;
};

template <class V, class Layout>
struct ScalesOf32 {
  static constexpr bool kHas = V::kByRows;
  static constexpr int kTogether = 1;
  struct Header {};
  static PL_INLINE Header header(const RowPairs<V>&) { return {}; }
  template <int g>
  static PL_INLINE void scales(const Header&, const RowPairs<V>& rows, Quads<V>& out) {
    out.scale[0] = V::halves_of_rows(rows.low + g * Layout::kSize, rows.high + g * Layout::kSize, rows.stride);
  }
};

template <class V>
struct InPairs<V, Blocks32<V, LayoutQ4_0>> : ScalesOf32<V, LayoutQ4_0> {
  template <int g, int j>
  static PL_INLINE void cut(const RowPairs<V>& rows, typename V::I* out) {
    const typename V::I both = rows.template at<j>(18 * g + 2);
    out[0] = field<V, 0>(both, 15), out[1] = field<V, 4>(both, 15);
  }
};

template <class V>
struct InPairs<V, Blocks32<V, LayoutQ8_0>> : ScalesOf32<V, LayoutQ8_0> {
  template <int g, int j>
  static PL_INLINE void cut(const RowPairs<V>& rows, typename V::I* out) {
    out[0] = rows.template at<j>(34 * g + 2), out[1] = rows.template at<j>(34 * g + 18);
  }
};

template <class V>
struct InPairs<V, FormatQ4_K<V>> {
  static constexpr bool kHas = V::kByRows;
  static constexpr int kTogether = 2;
  using Header = typename FormatQ4_K<V>::Header;
  static PL_INLINE Header header(const RowPairs<V>& rows) { return FormatQ4_K<V>::header(rows.low, rows.stride); }
  template <int g>
  static PL_INLINE void scales(const Header& h, const RowPairs<V>&, Quads<V>& out) {
    FormatQ4_K<V>::template scales<g % 4>(h, g / 4, out);
  }
  template <int g, int j>
  static PL_INLINE void cut(const RowPairs<V>& rows, typename V::I* out) {
    PL_UNROLL for (int h = 0; h < 2; ++h) {
      const typename V::I both = rows.template at<j>(16 + 16 * g + 16 * h);
      out[h] = field<V, 0>(both, 15), out[2 + h] = field<V, 4>(both, 15);
    }
  }
};

// Σ weights · activations of 32, before the sum over a row's part of the vector.
template <class V, class Format>
PL_INLINE typename V::I products_of_32(const typename V::I* w, const int8_t* q) {
  const typename V::I a0 = V::same_halves_at(q), a1 = V::same_halves_at(q + 16);
  if constexpr (V::kDot) {
    return V::dot(V::dot(V::ints(0), lift<V, Format>(w[0]), a0), lift<V, Format>(w[1]), a1);
  } else if constexpr (Format::kSigned) {
    return V::add(V::widen(V::pair_products(V::magnitude(w[0]), V::with_sign_of(w[0], a0))),
                  V::widen(V::pair_products(V::magnitude(w[1]), V::with_sign_of(w[1], a1))));
  } else {
    return V::in_order(V::add16(V::pair_products(w[0], a0), V::pair_products(w[1], a1)));
  }
}

// The sum over each row's part. Of four bits times eight, those of eight products still have room in 16 bits.
template <class V, class Format>
PL_INLINE typename V::I sums_of_rows(const typename V::I* products) {
  if constexpr (V::kDot || Format::kSigned) return V::sums_of_rows(products);
  else return V::sums_of_rows16(products);
}

// Products with one token, row by row, of the formats that have it.
template <class V, class Format>
struct ByRows {
  static constexpr bool kHas = InPairs<V, Format>::kHas;

  // acc += step · a, for the first `groups` of the step. ask(low, high, i) is called with group i.
  template <class Ask>
  static PL_INLINE void accumulate(const uint8_t* low, int64_t stride, int64_t groups, const ActBlock* a, typename V::F* acc,
                                   Ask ask) {
    using Rows = InPairs<V, Format>;
    constexpr int kTogether = Rows::kTogether, kZero = kZeroOf<V, Format>;
    const uint8_t* high = low + 4 * stride;
    V::keep(low, high);
    const RowPairs<V> rows = {low, high, stride};
    const typename Rows::Header header = Rows::header(rows);
    unroll<0, Format::kGroups / kTogether>([&](auto i) PL_LAMBDA {
      constexpr int g = i.value * kTogether;  // those that are cut together are in one block: all of them are there, or none
      if (__builtin_expect(g >= groups, 0)) return;
      PL_UNROLL for (int k = 0; k < kTogether; ++k) ask(low, high, g + k);
      typename V::I sums[kTogether][4];
      unroll<0, 4>([&](auto j) PL_LAMBDA {
        typename V::I w[2 * kTogether];
        Rows::template cut<g, j.value>(rows, w);
        PL_UNROLL for (int k = 0; k < kTogether; ++k) sums[k][j.value] = products_of_32<V, Format>(w + 2 * k, a[g + k].q);
      });
      unroll<0, kTogether>([&](auto k) PL_LAMBDA {
        constexpr int kGroup = g + k.value;
        const ActBlock& act = a[kGroup];
        Quads<V> quads;
        Rows::template scales<kGroup>(header, rows, quads);
        typename V::F min[2];
        lift_mins<V, Format>(quads, min);
        typename V::I sum = sums_of_rows<V, Format>(sums[k.value]);
        if constexpr (kZero != 0) sum = V::add(sum, V::multiply(V::ints_at(&act.minus_sum), V::ints(kZero)));
        *acc = V::multiply_add(V::multiply(V::to_float(sum), quads.scale[0]), V::floats_at(&act.d), *acc);
        if constexpr (Format::kMins) *acc = V::subtract_product(*acc, min[0], V::floats_at(&act.d_sum));
      });
    });
  }
};

}  // namespace
}  // namespace pl

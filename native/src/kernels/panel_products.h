// Products of quantized matrices with batches of activations, for every ISA with vectors: panels of V::kRows rows (see
// panel_formats.h) times tiles of up to V::kTile tokens.
//
// For few tokens a group of weights goes from the file through registers into the sums: that is decoding, and memory is
// what it waits for. For more, the next weights of V::kPanels panels are unpacked into arrays once, which stay in the first
// cache while all tiles of tokens pass by: eight dot products, one conversion, one product and one FMA for each token and 32
// weights, so that nearly all of the dot product unit's time is used.
//
// Both do the same arithmetic in the same order, one group of 32 after the other: a row's result does not depend on how
// many tokens are in the batch.
#pragma once

#include "ahead.h"
#include "kernels.h"
#include "panel_formats.h"
#include "panel_sums.h"
#include "row_products.h"
#include "row_products_q6_k.h"

namespace pl {
namespace {

constexpr int kChunkGroups = 32;  // of 32 weights: with 16 rows 16 KiB, half of a small first cache
// Up to so many tokens, what is unpacked next is asked for meanwhile; with more, it is little beside the products.
constexpr int kAsking = 64;

// What of a format the sums need to know: formats that are alike in this share their code.
template <bool kSigned_, bool kZero_, bool kHalves_, bool kMins_, bool kWhole_>
struct Arithmetic {
  static constexpr bool kSigned = kSigned_, kZero = kZero_, kHalves = kHalves_, kMins = kMins_, kWhole = kWhole_;
  static constexpr int kFloats = kHalves && !kWhole ? 2 : 1;  // scales of 32 weights
};

template <class V, class Format>
using ArithmeticOf = Arithmetic<!V::kDot && Format::kSigned, kZeroOf<V, Format> != 0, Format::kHalves, Format::kMins,
                                 !V::kDot && Format::kWhole>;

// A group's scales and minima: of quads, or of a panel.
template <class V>
struct Scales {
  const typename V::F *scale, *min;
  const typename V::I* whole;
};

// acc[p][t] += group · a[t] for one group of 32 weights of kPanels panels and kTokens tokens. q(p, j) gives weights 4j..4j+3.
template <class V, class A, int kPanels, int kTokens, class Q, class OfPanel>
PL_INLINE void accumulate(Q q, OfPanel of, int zero, const ActBlock* a, typename V::F (*acc)[kTokens]) {
  using Sum = ByteSum<V, A::kSigned>;
  constexpr int kParts = A::kHalves ? 2 : 1, kQuads = 8 / kParts;
  [[maybe_unused]] typename V::F both[kPanels][kTokens];  // of the two halves, where they have scales of their own
  [[maybe_unused]] typename V::I both_whole[kPanels][kTokens];
  unroll<0, kParts>([&](auto h) PL_LAMBDA {
    Sum sums[kPanels][kTokens];
    PL_UNROLL for (int t = 0; t < kTokens; ++t) {
      PL_UNROLL for (int p = 0; p < kPanels; ++p) {
        if constexpr (A::kHalves) sums[p][t].template start<A::kZero>(zero, a[t].minus_sum16[h.value], a[t].minus_pairs16[h.value]);
        else sums[p][t].template start<A::kZero>(zero, a[t].minus_sum, a[t].minus_pairs);
      }
    }
    unroll<0, kQuads>([&](auto j) PL_LAMBDA {
      constexpr int kQuad = kQuads * h.value + j.value;
      typename V::I w[kPanels];
      PL_UNROLL for (int p = 0; p < kPanels; ++p) w[p] = q(p, kQuad);
      PL_UNROLL for (int t = 0; t < kTokens; ++t) {
        PL_UNROLL for (int p = 0; p < kPanels; ++p) sums[p][t].add(w[p], a[t].q + 4 * kQuad);
      }
    });
    PL_UNROLL for (int t = 0; t < kTokens; ++t) {
      PL_UNROLL for (int p = 0; p < kPanels; ++p) {
        const Scales<V> s = of(p);
        const auto add = [&](typename V::I sum) PL_LAMBDA {
          acc[p][t] = V::multiply_add(V::multiply(V::to_float(sum), s.scale[0]), V::floats_at(&a[t].d), acc[p][t]);
        };
        if constexpr (A::kWhole) {
          const typename V::I part = sums[p][t].times(s.whole[h.value]);
          if constexpr (h.value == 0) both_whole[p][t] = part;
          else add(V::add(both_whole[p][t], part));
        } else if constexpr (!A::kHalves) {
          add(sums[p][t].end());
          if constexpr (A::kMins) acc[p][t] = V::subtract_product(acc[p][t], s.min[0], V::floats_at(&a[t].d_sum));
        } else {
          const typename V::F part = V::to_float(sums[p][t].end());
          both[p][t] = h.value == 0 ? V::multiply(part, s.scale[0]) : V::multiply_add(part, s.scale[1], both[p][t]);
          if constexpr (A::kMins) {
            const typename V::F minus_sum = V::to_float(V::ints_at(&a[t].minus_sum16[h.value]));
            both[p][t] = V::multiply_add(minus_sum, s.min[h.value], both[p][t]);
          }
          if constexpr (h.value == 1) acc[p][t] = V::multiply_add(both[p][t], V::floats_at(&a[t].d), acc[p][t]);
        }
        if constexpr (kPanels > 1) V::in_memory(acc[p][t]);
      }
    }
  });
}

// One step of a panel that lies whole in the matrix, or else, copied and filled up with zeros, here.
template <class V, class Format>
struct StepRows {
  const uint8_t* rows;
  int64_t stride;
  uint8_t copy[V::kRows * Format::kBytes];

  // `rows` of them, each with `bytes` bytes of this step.
  PL_INLINE void take(const uint8_t* from, int64_t from_stride, int64_t n_rows, int64_t bytes) {
    rows = from, stride = from_stride;
    if (__builtin_expect(n_rows >= V::kRows && bytes >= Format::kBytes, 1)) return;
    fill(n_rows < V::kRows ? n_rows : V::kRows, bytes < Format::kBytes ? bytes : Format::kBytes);
  }
  __attribute__((noinline)) void fill(int64_t n_rows, int64_t bytes) {
    __builtin_memset(copy, 0, sizeof copy);
    for (int64_t r = 0; r < n_rows; ++r) __builtin_memcpy(copy + r * Format::kBytes, rows + r * stride, static_cast<size_t>(bytes));
    rows = copy, stride = Format::kBytes;
  }
};

// Whether a panel's rows lie apart: it pays row by row, and above five bits a weight. Below, a panel's neighbours take 0.9 of the time.
template <class V, class Format, int kTokens>
constexpr bool kApartOf = V::kApart && ((kTokens == 1 && ByRows<V, Format>::kHas) || Format::kBytes > 20 * Format::kGroups);

// One panel: `n_rows` rows from `first` on, every `apart`-th.
template <class V, class Format, int kTokens>
__attribute__((noinline)) void multiply_panel(const Product& m, int64_t first, int64_t apart, int64_t n_rows) {
  const uint8_t* const panel = reinterpret_cast<const uint8_t*>(m.w) + first * m.row_bytes;
  constexpr bool kApart = kApartOf<V, Format, kTokens>;
  constexpr bool kWholeSteps = Format::kGroups == 8;  // a block of 256, which no row breaks off
  const int64_t groups = m.cols / 32, stride = apart * m.row_bytes, panel_bytes = V::kRows * m.row_bytes;
  // The next panel; the last one asks for nothing new: what follows it is another thread's.
  const uint8_t* next = first + V::kRows < m.rows ? panel + panel_bytes : panel;
  const ActBlock* a = m.act;
  typename V::F acc[kTokens];
  PL_UNROLL for (int t = 0; t < kTokens; ++t) acc[t] = V::floats(0.0f);
  StepRows<V, Format> step;
  for (int64_t at = 0, g = 0; g < groups; at += Format::kBytes, g += Format::kGroups) {
    step.take(panel + at, stride, n_rows, m.row_bytes - at);
    const auto ask = [&](const uint8_t* low, const uint8_t* high, int i) PL_LAMBDA {
      if constexpr (kApart) Ahead<V, Format>::rows(low, high, step.stride, i);
      else Ahead<V, Format>::piece(next, i);
    };
    const auto use = [&](int i, const Quads<V>& quads) PL_LAMBDA {
      ask(step.rows, step.rows + V::kRows / 2 * step.stride, i);
      typename V::F min[2];
      lift_mins<V, Format>(quads, min);
      accumulate<V, ArithmeticOf<V, Format>, 1, kTokens>([&](int, int j) PL_LAMBDA { return lift<V, Format>(quads.q[j]); },
                                                         [&](int) PL_LAMBDA { return Scales<V>{quads.scale, min, quads.whole}; },
                                                         kZeroOf<V, Format>, a + i * kTokens, &acc);
    };
    if constexpr (kTokens == 1 && ByRows<V, Format>::kHas) {
      ByRows<V, Format>::accumulate(step.rows, step.stride, groups - g, a, acc, ask);
    } else if (kWholeSteps || __builtin_expect(g + Format::kGroups <= groups, 1)) {
      Format::unpack(step.rows, step.stride, use);
    } else if constexpr (!kWholeSteps) {
      Format::unpack(step.rows, step.stride, [&](int i, const Quads<V>& quads) PL_LAMBDA {
        if (g + i < groups) use(i, quads);
      });
    }
    a += Format::kGroups * kTokens;
    next += Ahead<V, Format>::kStep;
  }
  PL_UNROLL for (int t = 0; t < kTokens; ++t) {
    float* const out = m.out + t * m.out_stride + first;
    if (!kApart || apart == 1) {
      V::store_some(out, acc[t], n_rows);
    } else {
      float lanes[V::kRows];
      V::store_some(lanes, acc[t], V::kRows);
      for (int r = 0; r < V::kRows; ++r) out[r * apart] = lanes[r];
    }
  }
}

// Few tokens: from the file into the sums.
template <class V, class Format, int kTokens>
void multiply_few(const Product& m) {
  const int64_t panels = m.rows / V::kRows, rest = m.rows % V::kRows;
  if constexpr (kApartOf<V, Format, kTokens>) {
    for (int64_t p = 0; p < panels; ++p) multiply_panel<V, Format, kTokens>(m, p, panels, V::kRows);
  } else {
    const auto* const first = reinterpret_cast<const uint8_t*>(m.w);
    for (int64_t i = 0; panels > 0 && i < V::kRows * m.row_bytes; i += 64) __builtin_prefetch(first + i, 0, 1);
    for (int64_t p = 0; p < panels; ++p) multiply_panel<V, Format, kTokens>(m, p * V::kRows, 1, V::kRows);
  }
  if (rest > 0) multiply_panel<V, Format, kTokens>(m, panels * V::kRows, 1, rest);
}

// A panel's weights, unpacked.
template <class V, class A>
struct Panel {
  typename V::I q[kChunkGroups][8];
  typename V::F scale[kChunkGroups][A::kFloats];
  typename V::F min[A::kMins ? kChunkGroups : 1][A::kFloats];
  typename V::I whole[A::kWhole ? kChunkGroups : 1][2];
  int zero;
  PL_INLINE Scales<V> scales(int64_t g) const { return {scale[g], min[A::kMins ? g : 0], whole[A::kWhole ? g : 0]}; }
};

// What will be unpacked next: a part of each of some panels' rows. Between the products of a tile it is asked for line by
// line, so that memory works while a few tokens are multiplied; a group's lines at once would be in the products' way.
template <class V, int kPanels>
struct Coming {
  static constexpr int kRows = kPanels * V::kRows;
  const uint8_t* rows = nullptr;
  int64_t stride = 0, piece = 0;  // bytes

  Coming() = default;
  Coming(const uint8_t* rows, int64_t stride, int64_t bytes_of_row) : rows(rows), stride(stride) {
    constexpr int64_t kPieces = kChunkGroups / kRows;  // of a row: one piece of one row for each group
    piece = (bytes_of_row + kPieces * 64 - 1) / (kPieces * 64) * 64;
  }
  PL_INLINE const uint8_t* piece_of(int64_t group) const { return rows + group % kRows * stride + group / kRows * piece; }
  // With weights 4j..4j+3 of the group.
  PL_INLINE void ask(const uint8_t* its_piece, int j) const {
    for (int64_t i = 64 * j; i < piece; i += 8 * 64) __builtin_prefetch(its_piece + i, 0, 1);
  }
};

// Panels with one tile: out(t, ·) (+)= panels · a(t). Where there are more than one, totals stay in memory.
template <class V, class A, int kPanels, int kTokens, bool kAsk>
void multiply_tile(const Panel<V, A>* panels, int64_t groups, const ActBlock* a, bool first, float* out,
                   int64_t out_stride, int64_t n_rows, const Coming<V, kPanels>& coming) {
  typename V::F acc[kPanels][kTokens];
  const auto at = [&](int p, int t) PL_LAMBDA { return out + t * out_stride + p * V::kRows; };
  PL_UNROLL for (int p = 0; p < kPanels; ++p) {
    PL_UNROLL for (int t = 0; t < kTokens; ++t) acc[p][t] = first ? V::floats(0.0f) : V::load_some(at(p, t), n_rows - p * V::kRows);
  }
  for (int64_t g = 0; g < groups; ++g, a += kTokens) {
    const uint8_t* const next = kAsk ? coming.piece_of(g) : nullptr;
    const auto weights = [&](int p, int j) PL_LAMBDA {
      if (kAsk && p == 0) coming.ask(next, j);
      return panels[p].q[g][j];
    };
    accumulate<V, A, kPanels, kTokens>(weights, [&](int p) PL_LAMBDA { return panels[p].scales(g); }, panels[0].zero, a, acc);
  }
  PL_UNROLL for (int p = 0; p < kPanels; ++p) {
    PL_UNROLL for (int t = 0; t < kTokens; ++t) V::store_some(at(p, t), acc[p][t], n_rows - p * V::kRows);
  }
}

template <class V, class Format>
void unpack_chunk(const Product& m, const uint8_t* panel_rows, int64_t n_rows, int64_t first_group, int64_t groups,
                  Panel<V, ArithmeticOf<V, Format>>& panel) {
  using A = ArithmeticOf<V, Format>;
  StepRows<V, Format> step;
  for (int64_t g = 0; g < groups; g += Format::kGroups) {
    const int64_t at = (first_group + g) / Format::kGroups * Format::kBytes;
    step.take(panel_rows + at, m.row_bytes, n_rows, m.row_bytes - at);
    Format::unpack(step.rows, step.stride, [&](int i, const Quads<V>& quads) PL_LAMBDA {
      PL_UNROLL for (int j = 0; j < 8; ++j) panel.q[g + i][j] = lift<V, Format>(quads.q[j]);
      typename V::F min[2];
      lift_mins<V, Format>(quads, min);
      PL_UNROLL for (int h = 0; h < A::kFloats; ++h) {
        panel.scale[g + i][h] = quads.scale[h];
        if constexpr (A::kMins) panel.min[g + i][h] = min[h];
      }
      if constexpr (A::kWhole) panel.whole[g + i][0] = quads.whole[0], panel.whole[g + i][1] = quads.whole[1];
    });
  }
}

// Many tokens: through unpacked panels. Of the last ones, any rows that are not there are zeros.
template <class V, class A>
void multiply_many(const Product& m, int zero,
                   void (*unpack)(const Product&, const uint8_t*, int64_t, int64_t, int64_t, Panel<V, A>&)) {
  constexpr int kPanels = V::kPanels;
  using Tile = void (*)(const Panel<V, A>*, int64_t, const ActBlock*, bool, float*, int64_t, int64_t, const Coming<V, kPanels>&);
  constexpr int kRows = kPanels * V::kRows;
  Tile tiles[V::kTile + 1], first_tiles[V::kTile + 1];
  const bool asks = V::kAsks && m.n <= kAsking;
  unroll<1, V::kTile + 1>([&](auto t) {
    tiles[t.value] = multiply_tile<V, A, kPanels, t.value, false>;
    first_tiles[t.value] = asks ? multiply_tile<V, A, kPanels, t.value, V::kAsks> : tiles[t.value];
  });
  const int64_t groups = m.cols / 32;
  const auto bytes = [&](int64_t some_groups) { return some_groups * m.row_bytes / groups; };
  Panel<V, A> panels[kPanels];
  panels[0].zero = zero;
  for (int64_t r = 0; r < m.rows; r += kRows) {
    const auto* const rows = reinterpret_cast<const uint8_t*>(m.w) + r * m.row_bytes;
    const int64_t n_rows = m.rows - r < kRows ? m.rows - r : kRows;
    for (int64_t g = 0; g < groups; g += kChunkGroups) {
      const int64_t here = groups - g < kChunkGroups ? groups - g : kChunkGroups;
      for (int p = 0; p < kPanels; ++p) {
        const int64_t below = p * V::kRows < n_rows ? p * V::kRows : n_rows, left = n_rows - below;
        unpack(m, rows + below * m.row_bytes, left < V::kRows ? left : V::kRows, g, here, panels[p]);
      }
      // Further along these rows, or the beginnings of the rows below.
      const int64_t left = groups - g - here, behind = left > 0 ? left : groups;
      const int64_t next = bytes(behind < kChunkGroups ? behind : kChunkGroups);
      Coming<V, kPanels> coming;
      if (left > 0) coming = {rows + bytes(g + here), m.row_bytes, next};
      else if (r + kRows < m.rows) coming = {rows + kRows * m.row_bytes, m.row_bytes, next};
      for (int64_t t = 0; t < m.n; t += V::kTile) {
        const int64_t width = m.n - t < V::kTile ? m.n - t : V::kTile;
        const Tile multiply = t == 0 ? first_tiles[width] : tiles[width];
        multiply(panels, here, m.act + t * groups + g * width, g == 0, m.out + t * m.out_stride + r, m.out_stride, n_rows, coming);
      }
    }
  }
}

template <class V, class Format>
void multiply(const Product& m) {
  // Four tokens fill a tile: where it passes over two panels, it takes less time than they do with more than five bits a weight, or
  // with weights that have a sign.
  constexpr bool kTileOfFour = V::kTile == 4 && V::kPanels > 1 && (Format::kSigned || kApartOf<V, Format, 4>);
  constexpr int kFew = kTileOfFour && V::few(Format::kFew) == 4 ? 3 : V::few(Format::kFew);
  // One more function for each power of two, and for three where there are no eight: they are large.
  if constexpr (kFew >= 1) {
    if (m.n == 1) return multiply_few<V, Format, 1>(m);
  }
  if constexpr (kFew >= 2) {
    if (m.n == 2) return multiply_few<V, Format, 2>(m);
  }
  if constexpr (kFew == 3 || kFew == 4) {
    if (m.n == 3) return multiply_few<V, Format, 3>(m);
  }
  if constexpr (kFew >= 4) {
    if (m.n == 4) return multiply_few<V, Format, 4>(m);
  }
  if constexpr (kFew >= 8) {
    if (m.n == 8) return multiply_few<V, Format, 8>(m);
  }
  multiply_many<V, ArithmeticOf<V, Format>>(m, kZeroOf<V, Format>, unpack_chunk<V, Format>);
}

template <class V>
void fill_panel_products(Kernels& table) {
  const auto set = [&table](Type type, Multiply f) { table.mat[static_cast<uint32_t>(type)].multiply = f; };
  set(Type::Q4_0, multiply<V, Blocks32<V, LayoutQ4_0>>);
  set(Type::Q4_1, multiply<V, Blocks32<V, LayoutQ4_1>>);
  set(Type::Q5_0, multiply<V, Blocks32<V, LayoutQ5_0>>);
  set(Type::Q5_1, multiply<V, Blocks32<V, LayoutQ5_1>>);
  set(Type::Q8_0, multiply<V, Blocks32<V, LayoutQ8_0>>);
  set(Type::IQ4_NL, multiply<V, Blocks32<V, LayoutIQ4_NL>>);
  set(Type::MXFP4, multiply<V, Blocks32<V, LayoutMXFP4>>);
  set(Type::Q2_K, multiply<V, FormatQ2_K<V>>);
  set(Type::Q3_K, multiply<V, FormatQ3_K<V>>);
  set(Type::Q4_K, multiply<V, FormatQ4_K<V>>);
  set(Type::Q5_K, multiply<V, FormatQ5_K<V>>);
  set(Type::Q6_K, multiply<V, FormatQ6_K<V>>);
  set(Type::IQ4_XS, multiply<V, FormatIQ4_XS<V>>);
  set(Type::IQ2_XXS, multiply<V, FormatGrid<V, BlockIQ2_XXS>>);
  set(Type::IQ2_XS, multiply<V, FormatGrid<V, BlockIQ2_XS>>);
  set(Type::IQ2_S, multiply<V, FormatGrid<V, BlockIQ2_S>>);
  set(Type::IQ3_XXS, multiply<V, FormatGrid<V, BlockIQ3_XXS>>);
  set(Type::IQ3_S, multiply<V, FormatGrid<V, BlockIQ3_S>>);
  set(Type::IQ1_S, multiply<V, FormatGrid<V, BlockIQ1_S>>);
  set(Type::IQ1_M, multiply<V, FormatGrid<V, BlockIQ1_M>>);
  table.act_tile = V::kTile;
}

}  // namespace
}  // namespace pl

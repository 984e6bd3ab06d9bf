// Products of matrices of floats with batches of activations, for every ISA with vectors: V::kFloatRows rows times
// V::kFloatTile tokens, whose sums stay in registers. Lanes are neighbours within a row, each sum has one vector of its
// own, and its lanes are added up at the end: the order of additions is the same for every batch. For many tokens,
// V::kFloatBytes of rows stay in the second cache while all tokens pass, a tile with all of these rows before the next.
#pragma once

#include "inlining.h"
#include "kernels.h"

namespace pl {
namespace {

template <class V, class Weight, int kRows, int kTokens>
void multiply_float_tile(const Weight* w, int64_t w_stride, const float* x, int64_t cols, float* out, int64_t out_stride) {
  typename V::F sums[kRows][kTokens];
  PL_UNROLL for (auto& row : sums) {
    PL_UNROLL for (auto& sum : row) sum = V::floats(0.0f);
  }
  const auto step = [&](auto load, int64_t i) PL_LAMBDA {
    typename V::F a[kTokens];
    PL_UNROLL for (int t = 0; t < kTokens; ++t) a[t] = load(x + t * cols + i);
    PL_UNROLL for (int r = 0; r < kRows; ++r) {
      const typename V::F row = load(w + r * w_stride + i);
      PL_UNROLL for (int t = 0; t < kTokens; ++t) sums[r][t] = V::multiply_add(row, a[t], sums[r][t]);
    }
  };
  int64_t i = 0;
  for (; i + V::kRows <= cols; i += V::kRows) step([](const auto* p) PL_LAMBDA { return V::load_row(p); }, i);
  if (i < cols) step([rest = cols - i](const auto* p) PL_LAMBDA { return V::load_row_some(p, rest); }, i);
  PL_UNROLL for (int t = 0; t < kTokens; ++t) {
    float* const to = out + t * out_stride;
    if constexpr (kRows % 4 == 0) {
      PL_UNROLL for (int r = 0; r < kRows; r += 4) V::put_four(to + r, sums[r][t], sums[r + 1][t], sums[r + 2][t], sums[r + 3][t]);
    } else {
      PL_UNROLL for (int r = 0; r < kRows; ++r) to[r] = V::add_up(sums[r][t]);
    }
  }
}

template <class V, class Weight, int kRows, int kTokens>
void multiply_float_rows(const Weight* w, int64_t stride, int64_t rows, const float* x, int64_t cols, float* out,
                         int64_t out_stride) {
  int64_t r = 0;
  for (; r + kRows <= rows; r += kRows) {
    multiply_float_tile<V, Weight, kRows, kTokens>(w + r * stride, stride, x, cols, out + r, out_stride);
  }
  for (; r < rows; ++r) multiply_float_tile<V, Weight, 1, kTokens>(w + r * stride, stride, x, cols, out + r, out_stride);
}

// Rows that lie apart, row r and every `apart`-th behind it: each is a long stream, as processors like to prefetch.
template <class V, class Weight, int kRows, int kTile>
void multiply_float_streams(const Product& m, const Weight* w, int64_t stride, int64_t apart) {
  for (int64_t r = 0; r < apart; ++r) {
    for (int64_t t = 0; t < m.n; t += kTile) {
      const int64_t width = m.n - t < kTile ? m.n - t : kTile;
      unroll<1, kTile + 1>([&](auto tokens) PL_LAMBDA {
        if (width != tokens.value) return;
        float sums[tokens.value][kRows];
        multiply_float_tile<V, Weight, kRows, tokens.value>(w + r * stride, apart * stride, m.x + t * m.cols, m.cols, sums[0], kRows);
        for (int j = 0; j < tokens.value; ++j) {
          for (int i = 0; i < kRows; ++i) m.out[(t + j) * m.out_stride + r + i * apart] = sums[j][i];
        }
      });
    }
  }
}

template <class V, class Weight>
void multiply_floats(const Product& m) {
  const auto* const w = reinterpret_cast<const Weight*>(m.w);
  const int64_t stride = m.row_bytes / static_cast<int64_t>(sizeof(Weight));
  if (m.n == 1) {
    constexpr int kRows = V::kFloatRowsAlone;
    const int64_t apart = V::kApart ? m.rows / kRows : 0, whole = apart * kRows;
    multiply_float_streams<V, Weight, kRows, 1>(m, w, stride, apart);
    multiply_float_rows<V, Weight, kRows, 1>(w + whole * stride, stride, m.rows - whole, m.x, m.cols, m.out + whole, m.out_stride);
    return;
  }
  constexpr int kTile = V::kFloatTile, kRows = V::kFloatRows;
  // Few tokens wait for memory: streams, as long as the second cache holds all of their activations.
  const bool few = V::kApart && m.n <= 24 && 4 * m.n * m.cols <= 2 * V::kFloatBytes;
  const int64_t apart = few ? m.rows / kRows : 0, whole = apart * kRows;
  multiply_float_streams<V, Weight, kRows, kTile>(m, w, stride, apart);
  const int64_t fit = V::kFloatBytes / m.row_bytes / kRows * kRows, block = fit < kRows ? kRows : fit;
  for (int64_t r = whole; r < m.rows; r += block) {
    const int64_t rows = m.rows - r < block ? m.rows - r : block;
    for (int64_t t = 0; t < m.n; t += kTile) {
      const int64_t width = m.n - t < kTile ? m.n - t : kTile;
      unroll<1, kTile + 1>([&](auto tokens) {
        if (width != tokens.value) return;
        multiply_float_rows<V, Weight, kRows, tokens.value>(w + r * stride, stride, rows, m.x + t * m.cols, m.cols,
                                                            m.out + t * m.out_stride + r, m.out_stride);
      });
    }
  }
}

template <class V>
void fill_float_products(Kernels& table) {
  const auto set = [&table](Type type, Multiply f) { table.mat[static_cast<uint32_t>(type)].multiply = f; };
  set(Type::F32, multiply_floats<V, float>);
  set(Type::F16, multiply_floats<V, Half>);
  set(Type::BF16, multiply_floats<V, BrainHalf>);
}

}  // namespace
}  // namespace pl

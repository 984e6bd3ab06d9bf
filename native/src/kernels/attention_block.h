// Attention of some queries to one block of keys, for every ISA with vectors: scores of a few queries at a time with lanes
// of keys, a softmax that goes on from what earlier blocks left, and the weighted sum with lanes of the values' elements.
// A query's result depends neither on how many others there are nor on which keys of the block the others see.
#pragma once

#include "inlining.h"
#include "kernels.h"
#include "vector_math.h"

namespace pl {
namespace {

// x *= scale, capped to cap * tanh(x / cap) if cap > 0.
template <class V>
PL_INLINE typename V::F scaled_score(typename V::F x, float scale, float cap) {
  x = V::multiply(x, V::floats(scale));
  if (cap <= 0.0f) return x;
  // tanh(y) = 1 - 2 / (e^(2y) + 1)
  const typename V::F e = exponential<V>(V::multiply(x, V::floats(2.0f / cap)));
  const typename V::F tanh = V::subtract(V::floats(1.0f), V::divide(V::floats(2.0f), V::add(e, V::floats(1.0f))));
  return V::multiply(tanh, V::floats(cap));
}

// Vectors that kQueries are multiplied with at a time. A query alone takes more: with four sums each FMA would wait for the one before.
template <class V, int kQueries>
constexpr int kAcross = kQueries == 1 && V::kRows <= 8 ? 8 : 4;

inline const float* elements(const float* p) { return p; }
inline const Half* elements(const uint16_t* p) { return reinterpret_cast<const Half*>(p); }

// scores(t, ·) = keys · q(t) for the keys [at, at + kAcross vectors).
template <class V, int kQueries, class Block>
PL_INLINE void score_keys(const Block& b, const AttentionQuery* queries, int64_t at, float (*scores)[kAttentionKeys]) {
  constexpr int kAcross = pl::kAcross<V, kQueries>;
  typename V::F sums[kQueries][kAcross];
  PL_UNROLL for (auto& row : sums) {
    PL_UNROLL for (auto& sum : row) sum = V::floats(0.0f);
  }
  const auto* keys = elements(b.keys) + at;
  for (int64_t i = 0; i < b.head_dim; ++i, keys += kAttentionKeys) {
    typename V::F q[kQueries];
    PL_UNROLL for (int t = 0; t < kQueries; ++t) q[t] = V::floats_at(queries[t].q + i);
    PL_UNROLL for (int v = 0; v < kAcross; ++v) {
      const typename V::F k = V::load_row(keys + v * V::kRows);
      PL_UNROLL for (int t = 0; t < kQueries; ++t) sums[t][v] = V::multiply_add(k, q[t], sums[t][v]);
    }
  }
  PL_UNROLL for (int t = 0; t < kQueries; ++t) {
    PL_UNROLL for (int v = 0; v < kAcross; ++v) {
      V::store_some(scores[t] + at + v * V::kRows, scaled_score<V>(sums[t][v], b.scale, b.soft_cap), V::kRows);
    }
  }
}

// Makes one query's scores into weights, moves its maximum and its sum on, and says by what its output shrinks.
template <class V>
PL_INLINE float weigh(const AttentionQuery& query, float* scores) {
  const float kNothing = -__builtin_inff();
  if (query.slope != 0.0f) {
    for (int64_t j = query.first; j < query.end; ++j) scores[j] += query.slope * static_cast<float>(j - query.behind);
  }
  for (int64_t j = 0; j < query.first; ++j) scores[j] = kNothing;
  for (int64_t j = query.end; j < kAttentionKeys; ++j) scores[j] = kNothing;
  typename V::F most = V::load_floats(scores);
  for (int j = V::kRows; j < kAttentionKeys; j += V::kRows) most = V::max(most, V::load_floats(scores + j));
  const float highest = V::highest(most);
  const float top = highest > *query.top ? highest : *query.top;
  if (top == kNothing) {  // every score so far is minus infinity
    for (int j = 0; j < kAttentionKeys; ++j) scores[j] = 0.0f;
    return 1.0f;
  }
  typename V::F sum = V::floats(0.0f);
  for (int j = 0; j < kAttentionKeys; j += V::kRows) {
    const typename V::F p = exponential<V>(V::subtract(V::load_floats(scores + j), V::floats(top)));
    V::store_some(scores + j, p, V::kRows);
    sum = V::add(sum, p);
  }
  const float shrink = V::first(exponential<V>(V::floats(*query.top - top)));
  *query.top = top;
  *query.sum = *query.sum * shrink + V::add_up(sum);
  return shrink;
}

// out(t, ·) = shrink(t) * out(t, ·) + Σ p(t, j) * values(j, ·) for kVectors vectors of elements from `at` on, the last of
// `some` elements. Only keys that one of the queries sees are looked at; to the others their weights are 0.
template <class V, int kQueries, int kVectors, class Block>
PL_INLINE void add_values(const Block& b, const AttentionQuery* queries, const float* shrink,
                          const float (*p)[kAttentionKeys], int64_t first, int64_t end, int64_t at, int64_t some) {
  typename V::F sums[kQueries][kVectors];
  PL_UNROLL for (int t = 0; t < kQueries; ++t) {
    PL_UNROLL for (int v = 0; v < kVectors; ++v) {
      const typename V::F out = V::load_some(queries[t].out + at + v * V::kRows, v + 1 < kVectors ? V::kRows : some);
      sums[t][v] = V::multiply(out, V::floats(shrink[t]));
    }
  }
  const auto* const values = elements(b.values) + at;
  for (int64_t j = first; j < end; ++j) {
    typename V::F weight[kQueries];
    PL_UNROLL for (int t = 0; t < kQueries; ++t) weight[t] = V::floats_at(&p[t][j]);
    PL_UNROLL for (int v = 0; v < kVectors; ++v) {
      const typename V::F value = V::load_row(values + j * b.value_stride + v * V::kRows);
      PL_UNROLL for (int t = 0; t < kQueries; ++t) sums[t][v] = V::multiply_add(value, weight[t], sums[t][v]);
    }
  }
  PL_UNROLL for (int t = 0; t < kQueries; ++t) {
    PL_UNROLL for (int v = 0; v < kVectors; ++v) {
      V::store_some(queries[t].out + at + v * V::kRows, sums[t][v], v + 1 < kVectors ? V::kRows : some);
    }
  }
}

template <class V, int kQueries, class Block>
void attend_tile(const Block& b, const AttentionQuery* queries) {
  constexpr int kAcross = pl::kAcross<V, kQueries>;
  alignas(64) float scores[kQueries][kAttentionKeys];
  for (int64_t at = 0; at < kAttentionKeys; at += kAcross * V::kRows) score_keys<V, kQueries>(b, queries, at, scores);
  float shrink[kQueries];
  int64_t first = kAttentionKeys, end = 0;
  PL_UNROLL for (int t = 0; t < kQueries; ++t) {
    shrink[t] = weigh<V>(queries[t], scores[t]);
    first = queries[t].first < first ? queries[t].first : first;
    end = queries[t].end > end ? queries[t].end : end;
  }
  int64_t at = 0;
  for (; at + kAcross * V::kRows <= b.value_dim; at += kAcross * V::kRows) {
    add_values<V, kQueries, kAcross>(b, queries, shrink, scores, first, end, at, V::kRows);
  }
  for (; at < b.value_dim; at += V::kRows) {
    const int64_t some = b.value_dim - at < V::kRows ? b.value_dim - at : V::kRows;
    add_values<V, kQueries, 1>(b, queries, shrink, scores, first, end, at, some);
  }
}

template <class V, class Block>
void attend_block(const Block& b, const AttentionQuery* queries, int64_t n) {
  for (; n >= V::kQueries; n -= V::kQueries, queries += V::kQueries) attend_tile<V, V::kQueries>(b, queries);
  unroll<1, V::kQueries>([&](auto t) {
    if (n == t.value) attend_tile<V, t.value>(b, queries);
  });
}

// Rows of keys (n, head_dim), `stride` floats apart, to out (head_dim, kAttentionKeys), with zeros for keys that are not
// there.
template <class V>
void transpose_keys(const float* rows, int64_t stride, int64_t n, int64_t head_dim, float* out) {
  for (int64_t r = 0; r < kAttentionKeys; r += V::kRows) {
    const float* const from = rows + r * stride;
    int64_t i = 0;
    if (r + V::kRows <= n) {
      for (; i + 4 <= head_dim; i += 4) {
        typename V::I columns[4];
        V::load_columns(reinterpret_cast<const uint8_t*>(from + i), stride * 4, columns);
        for (int k = 0; k < 4; ++k) V::store_some(out + (i + k) * kAttentionKeys + r, V::as_float(columns[k]), V::kRows);
      }
    }
    for (; i < head_dim; ++i) {
      for (int64_t k = 0; k < V::kRows; ++k) out[i * kAttentionKeys + r + k] = r + k < n ? from[k * stride + i] : 0.0f;
    }
  }
}

// Halves become floats for each tile of queries anew; with more tiles than this it pays to unpack a block once.
constexpr int kFewTiles = 3;

template <class V>
void fill_attention(Kernels& table) {
  table.attend_block = attend_block<V, AttentionBlock>;
  table.attend_halves = attend_block<V, HalfAttentionBlock>;
  table.few_queries = kFewTiles * V::kQueries;
  table.transpose_keys = transpose_keys<V>;
}

}  // namespace
}  // namespace pl

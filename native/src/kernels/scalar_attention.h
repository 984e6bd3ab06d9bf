// Attention to a block of keys in plain C++: the specification. For scalar.cc.
#pragma once

#include <cmath>
#include <limits>

#include "kernels.h"

namespace pl {
namespace {

void attend_query(const AttentionBlock& b, const AttentionQuery& query) {
  float scores[kAttentionKeys];
  float top = *query.top;
  for (int64_t j = query.first; j < query.end; ++j) {
    float score = 0.0f;
    for (int64_t i = 0; i < b.head_dim; ++i) score += query.q[i] * b.keys[i * kAttentionKeys + j];
    score *= b.scale;
    scores[j] = b.soft_cap > 0.0f ? b.soft_cap * std::tanh(score / b.soft_cap) : score;
    scores[j] += query.slope * static_cast<float>(j - query.behind);
    top = scores[j] > top ? scores[j] : top;
  }
  if (top == -std::numeric_limits<float>::infinity()) return;  // as if there were no keys yet
  const float shrink = std::exp(*query.top - top);
  *query.top = top;
  *query.sum *= shrink;
  for (int64_t i = 0; i < b.value_dim; ++i) query.out[i] *= shrink;
  for (int64_t j = query.first; j < query.end; ++j) {
    const float p = std::exp(scores[j] - top);
    *query.sum += p;
    for (int64_t i = 0; i < b.value_dim; ++i) query.out[i] += p * b.values[j * b.value_stride + i];
  }
}

void attend_block(const AttentionBlock& block, const AttentionQuery* queries, int64_t n) {
  for (int64_t i = 0; i < n; ++i) attend_query(block, queries[i]);
}

void transpose_keys(const float* rows, int64_t stride, int64_t n, int64_t head_dim, float* out) {
  for (int64_t i = 0; i < head_dim; ++i) {
    for (int64_t j = 0; j < kAttentionKeys; ++j) out[i * kAttentionKeys + j] = j < n ? rows[j * stride + i] : 0.0f;
  }
}

}  // namespace
}  // namespace pl

#include "experts.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

namespace pl {
namespace {

// Puts the likeliest experts of one token first in `order`, and makes their logits into weights that sum to 1.
void choose(const Config& c, float* logits, std::vector<int32_t>& order) {
  // What is not a number has no place in an order; such a file gives no text whatever is chosen.
  for (int64_t e = 0; e < c.n_experts; ++e) {
    if (std::isnan(logits[e])) logits[e] = -std::numeric_limits<float>::infinity();
  }
  std::iota(order.begin(), order.end(), 0);
  // Of equal logits the lower number wins, so that the choice is one and the same everywhere.
  std::partial_sort(order.begin(), order.begin() + c.n_experts_used, order.end(), [&](int32_t a, int32_t b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  });
  // A softmax over all of them and then normalizing the chosen is the same as a softmax over the chosen.
  const float highest = logits[order[0]];
  float sum = 0.0f;
  for (int64_t j = 0; j < c.n_experts_used; ++j) {
    float& p = logits[order[static_cast<size_t>(j)]];
    p = std::exp(p - highest);
    sum += p;
  }
  for (int64_t j = 0; j < c.n_experts_used; ++j) logits[order[static_cast<size_t>(j)]] /= sum;
}

}  // namespace

void mix_experts(const Config& c, const Layer& l, Ops& ops, State& s, const float* h, int64_t n) {
  ops.matmul(l.router, ops.prepare(h, n, c.dim, {&l.router}, s.blocks), s.router.data(), c.n_experts);
  std::fill_n(s.y.begin(), n * c.dim, 0.0f);
  // Token by token: simple, and right; grouping tokens by expert belongs to the fast kernels.
  for (int64_t i = 0; i < n; ++i) {
    float* weights = s.router.data() + i * c.n_experts;
    choose(c, weights, s.experts);
    const Rows in = ops.prepare(h + i * c.dim, 1, c.dim, {&l.expert_gate.any(), &l.expert_up.any()}, s.blocks);
    for (int64_t j = 0; j < c.n_experts_used; ++j) {
      const int64_t e = s.experts[static_cast<size_t>(j)];
      const Matrix gate = l.expert_gate[e], up = l.expert_up[e], down = l.expert_down[e];
      ops.matmul(gate, in, s.gate.data(), c.expert_ffn_dim);
      ops.matmul(up, in, s.up.data(), c.expert_ffn_dim);
      ops.activate(c, s.gate.data(), s.up.data(), s.up.data(), 1, c.expert_ffn_dim);
      const Rows mid = ops.prepare(s.up.data(), 1, c.expert_ffn_dim, {&down}, s.ffn_blocks);
      ops.matmul(down, mid, s.expert_out.data(), c.dim);
      ops.kernels().axpy_f32(s.y.data() + i * c.dim, weights[e], s.expert_out.data(), c.dim);
    }
  }
}

}  // namespace pl

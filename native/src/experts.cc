#include "experts.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

namespace pl {
namespace {

constexpr int64_t kChoiceBytes = int64_t{32} << 20;

// Leaves a chance only to the experts of the best groups. With a bias a group is as good as its two best experts, without
// one as its best (DeepSeek-V3, and V2).
void choose_groups(const Config& c, bool biased, std::vector<float>& chances) {
  const auto size = static_cast<size_t>(c.n_experts / c.n_expert_groups);
  std::vector<std::pair<float, size_t>> groups;  // how good each is, negated, so that of equal ones the first wins
  for (size_t g = 0; g * size < chances.size(); ++g) {
    float best = -std::numeric_limits<float>::infinity(), second = best;
    for (size_t e = g * size; e < (g + 1) * size; ++e) {
      second = std::max(second, std::min(best, chances[e])), best = std::max(best, chances[e]);
    }
    const float good = biased && size > 1 ? best + second : best;
    groups.emplace_back(std::isnan(good) ? std::numeric_limits<float>::infinity() : -good, g);  // as in choose()
  }
  std::sort(groups.begin(), groups.end());
  for (size_t i = static_cast<size_t>(c.n_expert_groups_used); i < groups.size(); ++i) {
    std::fill_n(chances.begin() + static_cast<ptrdiff_t>(groups[i].second * size), size,
                -std::numeric_limits<float>::infinity());
  }
}

// From the router's logits of one token (n_experts) to what each chosen expert's output is multiplied by; the chosen
// stand first in `order`. `chances` (n_experts) are what the choice is made by.
void choose(const Config& c, const Layer& l, float* logits, std::vector<float>& chances, std::vector<int32_t>& order) {
  float* weights = logits;
  if (c.experts_sigmoid) {
    for (int64_t e = 0; e < c.n_experts; ++e) weights[e] = 1.0f / (1.0f + std::exp(-logits[e]));
  } else {
    const float highest = *std::max_element(logits, logits + c.n_experts);
    float sum = 0.0f;
    for (int64_t e = 0; e < c.n_experts; ++e) sum += weights[e] = std::exp(logits[e] - highest);
    for (int64_t e = 0; e < c.n_experts; ++e) weights[e] /= sum;
  }
  for (int64_t e = 0; e < c.n_experts; ++e) {
    const float chance = weights[e] + (l.router_bias ? l.router_bias[e] : 0.0f);
    // What is not a number has no place in an order; such a file gives no text whatever is chosen.
    chances[static_cast<size_t>(e)] = std::isnan(chance) ? -std::numeric_limits<float>::infinity() : chance;
  }
  if (c.n_expert_groups > 1) choose_groups(c, l.router_bias != nullptr, chances);
  std::iota(order.begin(), order.end(), 0);
  // Of equal ones the lower number wins, so that the choice is one and the same everywhere.
  std::partial_sort(order.begin(), order.begin() + c.n_experts_used, order.end(), [&](int32_t a, int32_t b) {
    const float p = chances[static_cast<size_t>(a)], q = chances[static_cast<size_t>(b)];
    return p != q ? p > q : a < b;
  });
  float sum = 0.0f;
  for (int64_t j = 0; j < c.n_experts_used; ++j) sum += weights[order[static_cast<size_t>(j)]];
  const float factor = c.experts_normalized && sum > 0.0f ? c.experts_scale / sum : c.experts_scale;
  for (int64_t j = 0; j < c.n_experts_used; ++j) weights[order[static_cast<size_t>(j)]] *= factor;
}

// y(i, :) += what the experts that token i has chosen make of h(i, :), for the tokens of s.choices.
void run_experts(const Config& c, const Layer& l, Ops& ops, State& s, const float* h) {
  const auto n = static_cast<int64_t>(s.choices.size());
  float* const rows = s.expert_rows.data();
  for (int64_t i = 0; i < n; ++i) std::copy_n(h + s.choices[static_cast<size_t>(i)].token * c.dim, c.dim, rows + i * c.dim);
  // Calls use(expert, first, n) for each expert and its choices, which follow each other.
  const auto each = [&s, n](auto use) {
    const Choice* const all = s.choices.data();
    for (int64_t first = 0, end = 0; first < n; first = end) {
      while (end < n && all[end].expert == all[first].expert) ++end;
      use(all[first].expert, first, end - first);
    }
  };
  const int64_t ffn = c.expert_ffn_dim;
  s.products.clear();
  each([&](int64_t e, int64_t first, int64_t count) {
    const Matrix gate = l.expert_gate[e], up = l.expert_up[e];
    const Rows in = ops.prepare(rows + first * c.dim, count, c.dim, {&gate, &up}, s.blocks, first * c.dim / kActBlock);
    s.products.push_back({gate, in, s.gate.data() + first * ffn, ffn});
    s.products.push_back({up, in, s.up.data() + first * ffn, ffn});
  });
  ops.matmul(s.products);
  ops.activate(c, s.gate.data(), s.up.data(), s.up.data(), n, ffn);
  s.products.clear();
  each([&](int64_t e, int64_t first, int64_t count) {
    const Matrix down = l.expert_down[e];
    const Rows mid = ops.prepare(s.up.data() + first * ffn, count, ffn, {&down}, s.ffn_blocks, first * ffn / kActBlock);
    s.products.push_back({down, mid, rows + first * c.dim, c.dim});
  });
  ops.matmul(s.products);
  // A token's experts are added in the order of their numbers, whoever else is in the batch.
  for (int64_t i = 0; i < n; ++i) {
    const Choice& choice = s.choices[static_cast<size_t>(i)];
    ops.kernels().axpy_f32(s.y.data() + choice.token * c.dim, choice.weight, rows + i * c.dim, c.dim);
  }
}

}  // namespace

int64_t choices_together(const Config& c, int64_t max) {
  if (c.n_experts == 0 || c.n_experts_used == 0) return 0;
  const int64_t bytes = (c.dim + 2 * c.expert_ffn_dim) * static_cast<int64_t>(sizeof(float));
  return std::clamp<int64_t>(kChoiceBytes / bytes / c.n_experts_used, 1, max) * c.n_experts_used;
}

void mix_experts(const Config& c, const Layer& l, Ops& ops, State& s, const float* h, int64_t n) {
  ops.matmul(l.router, ops.prepare(h, n, c.dim, {&l.router}, s.blocks), s.router.data(), c.n_experts);
  const int64_t together = choices_together(c, s.max_batch) / c.n_experts_used;
  for (int64_t begin = 0; begin < n; begin += together) {
    s.choices.clear();
    for (int64_t i = begin; i < std::min(n, begin + together); ++i) {
      float* const weights = s.router.data() + i * c.n_experts;
      choose(c, l, weights, s.chances, s.experts);
      for (int64_t j = 0; j < c.n_experts_used; ++j) {
        const int32_t e = s.experts[static_cast<size_t>(j)];
        s.choices.push_back({e, static_cast<int32_t>(i), weights[e]});
      }
    }
    std::sort(s.choices.begin(), s.choices.end(), [](const Choice& a, const Choice& b) {
      return a.expert != b.expert ? a.expert < b.expert : a.token < b.token;
    });
    run_experts(c, l, ops, s, h);
  }
}

}  // namespace pl

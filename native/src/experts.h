// Mixture of experts: a router chooses a few feed-forward networks for each token.
#pragma once

#include "forward.h"

namespace pl {

// state.y(n, dim) += the chosen experts' outputs, weighted, for h(n, dim).
void mix_experts(const Config& c, const Layer& l, Ops& ops, State& state, const float* h, int64_t n);

}  // namespace pl

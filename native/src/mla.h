// Multi-head latent attention (DeepSeek-V2, 2024): keys and values are made of one short vector for each token.
#pragma once

#include "forward.h"

namespace pl {

// Queries, keys and values of h (n, dim) into the state. Of each head, the elements that turn come first.
void project_latent(const Config& c, const Layer& l, Ops& ops, State& s, const float* h, int64_t n);

// What attention gave (n, n_heads * value_dim) as the layer's output matrix wants it: (n, n_heads * latent_value_dim).
const float* expand_latent(const Config& c, const Layer& l, Ops& ops, State& s, int64_t n);

}  // namespace pl

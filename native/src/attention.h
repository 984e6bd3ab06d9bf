// Attention over the cache.
#pragma once

#include <span>

#include "forward.h"

namespace pl {

// Puts the keys (n, n_kv_heads * head_dim) and values (n, n_kv_heads * value_dim) of a batch into the cache.
void store(const Config& c, KvCache& cache, Ops& ops, int64_t layer, std::span<const Item> batch, const float* k,
           const float* v);

// out(n, n_heads * value_dim) = softmax(q · keys) · values, each item over its own sequence up to its own position.
void attend(const Config& c, const KvCache& cache, Ops& ops, int64_t layer, std::span<const Item> batch,
            const float* sinks, const float* q, float* out);

}  // namespace pl

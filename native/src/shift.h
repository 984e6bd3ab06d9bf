// Making room in a full context: tokens are taken out of the cache, and those behind them move down.
#pragma once

#include "forward.h"

namespace pl {

// Takes positions [keep, keep + discard) out of a sequence that holds n: the keys and values behind them take the positions
// from `keep` on, and their keys are turned back by `discard`, in each layer as far as it turns. F16 and Q8_0 are rounded
// once more thereby. What later tokens saw in the tokens that are gone stays in them. Fails with kUnsupported where the
// positions are part of what the cache was computed from.
void shift(const Model& model, KvCache& cache, State& state, Ops& ops, RopeTables& rope, int64_t seq, int64_t n,
           int64_t keep, int64_t discard);

}  // namespace pl

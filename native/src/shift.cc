#include "shift.h"

#include <algorithm>
#include <cstring>

#include "error.h"

namespace pl {

void shift(const Model& model, KvCache& cache, State& state, Ops& ops, RopeTables& rope, int64_t seq, int64_t n,
           int64_t keep, int64_t discard) {
  const Config& c = model.config;
  const Kernels& k = ops.kernels();
  if (model.weights.position_embd) {
    fail(ErrorKind::kUnsupported,
         "%s models learn what each position is: their context cannot be shifted, only evaluated again",
         c.architecture.c_str());
  }
  if (c.qk_norm_after_rope) {
    fail(ErrorKind::kUnsupported,
         "%s models normalize keys behind their rotation, so that they cannot be turned any further: their context cannot be "
         "shifted, only evaluated again",
         c.architecture.c_str());
  }
  const int64_t moved = n - keep - discard;
  if (discard == 0) return;
  if (c.rope != Rope::kNone) rope.prepare_turn(-static_cast<int32_t>(discard));
  const auto turn = c.rope == Rope::kInterleaved ? k.rope_interleaved : k.rope_halves;
  for (int64_t layer = 0; layer < c.n_layers; ++layer) {
    ops.pool().parallel_for(c.n_kv_heads, 1, [&](int64_t begin, int64_t end) {
      for (int64_t head = begin; head < end; ++head) {
        cache.move_keys(layer, seq, head, keep, keep + discard, moved);
        std::memmove(cache.value(layer, seq, head, keep), cache.value(layer, seq, head, keep + discard),
                     static_cast<size_t>(moved * cache.value_bytes()));
      }
    });
    if (!c.turns(layer)) continue;
    const float *cos = rope.cos(0, c.slides(layer)), *sin = rope.sin(0, c.slides(layer));
    for (int64_t at = 0; at < moved; at += state.max_batch) {
      ops.pool().parallel_for(std::min(state.max_batch, moved - at), 4, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          float* const turned = state.k.data() + i * c.kv_dim();
          for (int64_t head = 0; head < c.n_kv_heads; ++head) {
            cache.get_key(k, layer, seq, head, keep + at + i, turned);
            turn(turned, cos, sin, c.rope_dim);
            cache.put_key(k, turned, layer, seq, head, keep + at + i);
          }
        }
      });
    }
  }
}

}  // namespace pl

#include "forward.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "attention.h"
#include "error.h"
#include "experts.h"
#include "mla.h"

namespace pl {
namespace {

// What is needed everywhere below.
struct Pass {
  const Model& model;
  const Config& c;
  KvCache& cache;
  State& s;
  Ops& ops;
  RopeTables& rope;
  std::span<const Item> batch;
  int64_t n;  // of tokens
};

// x = the tokens' embeddings.
void embed(const Pass& p) {
  const Weights& w = p.model.weights;
  const Kernels& k = p.ops.kernels();
  p.ops.pool().parallel_for(p.n, 8, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Item& item = p.batch[static_cast<size_t>(i)];
      float* x = p.s.x.data() + i * p.c.dim;
      w.token_embd.mat->dequant(w.token_embd.row(item.token), x, p.c.dim);
      if (p.c.embedding_scale != 1.0f) k.scale(x, p.c.embedding_scale, p.c.dim);
      if (w.position_embd) {
        float* position = p.s.h.data() + i * p.c.dim;
        w.position_embd.mat->dequant(w.position_embd.row(item.pos), position, p.c.dim);
        k.add(x, position, x, p.c.dim);
      }
    }
  });
  if (w.embd_norm) p.ops.norm(p.c, w.embd_norm, p.s.x.data(), p.s.x.data(), p.n, p.c.dim);
}

// Normalizes the heads of queries or keys, as QkNorm says.
void norm_heads(const Pass& p, const NormWeights& w, float* heads, int64_t n_heads) {
  if (!w) return;
  const int64_t dim = p.c.head_dim;
  if (p.c.qk_norm == QkNorm::kWhole) {
    p.ops.norm(p.c, w, heads, heads, p.n, n_heads * dim);
  } else if (p.c.qk_norm == QkNorm::kHeads) {
    p.ops.norm(p.c, w, heads, heads, p.n * n_heads, dim);
  } else {
    p.ops.norm(p.c, {nullptr, nullptr, true}, heads, heads, p.n * n_heads, dim);
    for (int64_t i = 0; i < p.n; ++i) {
      float* row = heads + i * n_heads * dim;
      p.ops.kernels().mul(row, w.weight, row, n_heads * dim);
    }
  }
}

void turn_heads(const Pass& p, float* heads, int64_t n_heads, bool slides) {
  const Kernels& k = p.ops.kernels();
  const auto turn = p.c.rope == Rope::kInterleaved ? k.rope_interleaved : k.rope_halves;
  p.ops.pool().parallel_for(p.n, 8, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t head = 0; head < n_heads; ++head) {
        turn(heads + (i * n_heads + head) * p.c.head_dim, p.rope.cos(i, slides), p.rope.sin(i, slides), p.c.rope_dim);
      }
    }
  });
}

void turn(const Pass& p, int64_t i) {
  if (!p.c.turns(i)) return;
  turn_heads(p, p.s.q.data(), p.c.n_heads, p.c.slides(i));
  turn_heads(p, p.s.k.data(), p.c.n_kv_heads, p.c.slides(i));
}

void clamp(std::vector<float>& x, int64_t n, float limit) {
  for (int64_t i = 0; i < n; ++i) {
    float& value = x[static_cast<size_t>(i)];
    value = std::clamp(value, -limit, limit);
  }
}

// Queries that look back far grow, so that attention stays sharp.
void warm_queries(const Pass& p) {
  const int64_t width = p.c.n_heads * p.c.head_dim;
  for (int64_t i = 0; i < p.n; ++i) {
    const int64_t times = p.batch[static_cast<size_t>(i)].pos / p.c.attn_temperature_ctx;
    const float factor = 1.0f + p.c.attn_temperature * std::log(1.0f + static_cast<float>(times));
    p.ops.kernels().scale(p.s.q.data() + i * width, factor, width);
  }
}

// q, k, v = the projections of h
void project(const Pass& p, const Layer& l, const float* h) {
  const Config& c = p.c;
  State& s = p.s;
  const Rows in = p.ops.prepare(h, p.n, c.dim, {&l.wq, &l.wk, &l.wv}, s.blocks);
  p.ops.matmul({{l.wq, in, s.q.data(), c.n_heads * c.head_dim}, {l.wk, in, s.k.data(), c.kv_dim()}, {l.wv, in, s.v.data(), c.v_dim()}});
  if (c.qkv_clamp == 0) return;
  clamp(s.q, p.n * c.n_heads * c.head_dim, c.qkv_clamp);
  clamp(s.k, p.n * c.kv_dim(), c.qkv_clamp);
  clamp(s.v, p.n * c.v_dim(), c.qkv_clamp);
}

// y = attention(h)
void attention(const Pass& p, int64_t i, const Layer& l, const float* h) {
  const Config& c = p.c;
  State& s = p.s;
  if (l.kv_down) {
    project_latent(c, l, p.ops, s, h, p.n);
  } else {
    project(p, l, h);
  }
  if (c.qk_norm_after_rope) turn(p, i);
  norm_heads(p, l.q_norm, s.q.data(), c.n_heads);
  norm_heads(p, l.k_norm, s.k.data(), c.n_kv_heads);
  if (!c.qk_norm_after_rope) turn(p, i);
  if (c.attn_temperature > 0) warm_queries(p);
  store(c, p.cache, p.ops, i, p.batch, s.k.data(), s.v.data());
  attend(c, p.cache, p.ops, i, p.batch, l.sinks, s.q.data(), s.attended.data());
  const float* attended = l.kv_down ? expand_latent(c, l, p.ops, s, p.n) : s.attended.data();
  const Rows out = p.ops.prepare(attended, p.n, c.attended_dim(), {&l.wo}, s.blocks);
  p.ops.matmul(l.wo, out, s.y.data(), c.dim);
}

// y = ffn(h)
void feed_forward(const Pass& p, const Ffn& ffn, const float* h) {
  const Config& c = p.c;
  State& s = p.s;
  const int64_t width = ffn.up.rows;
  const Rows in = p.ops.prepare(h, p.n, c.dim, {&ffn.gate, &ffn.up}, s.blocks);
  p.ops.matmul({{ffn.gate, in, s.gate.data(), width}, {ffn.up, in, s.up.data(), width}});
  p.ops.activate(c, ffn.gate ? s.gate.data() : nullptr, s.up.data(), s.up.data(), p.n, width);
  const Rows mid = p.ops.prepare(s.up.data(), p.n, width, {&ffn.down}, s.ffn_blocks);
  p.ops.matmul(ffn.down, mid, s.y.data(), c.dim);
}

// y = shared(h), as much of it as each token wants.
void shared_expert(const Pass& p, const Layer& l, const float* h) {
  feed_forward(p, l.shared, h);
  if (!l.shared_gate) return;
  float* wanted = p.s.router.data();  // (n), free until the router has its turn
  p.ops.matmul(l.shared_gate, p.ops.prepare(h, p.n, p.c.dim, {&l.shared_gate}, p.s.blocks), wanted, 1);
  for (int64_t i = 0; i < p.n; ++i) {
    p.ops.kernels().scale(p.s.y.data() + i * p.c.dim, 1.0f / (1.0f + std::exp(-wanted[i])), p.c.dim);
  }
}

void any_ffn(const Pass& p, const Layer& l, const float* h) {
  if (!l.router) {
    feed_forward(p, l.ffn, h);
    return;
  }
  if (l.shared.up) {
    shared_expert(p, l, h);
  } else {
    std::fill_n(p.s.y.begin(), p.n * p.c.dim, 0.0f);
  }
  mix_experts(p.c, l, p.ops, p.s, h, p.n);
}

// x += y, normalized first where the model has it so.
void add_block(const Pass& p, const NormWeights& post) {
  float* y = p.s.y.data();
  if (post) p.ops.norm(p.c, post, y, y, p.n, p.c.dim);
  p.ops.add_scaled(p.s.x.data(), y, p.c.residual_scale, p.n, p.c.dim);
}

// The input of a block: x, normalized where there is a norm before it.
const float* block_input(const Pass& p, const NormWeights& pre) {
  if (!pre) return p.s.x.data();
  p.ops.norm(p.c, pre, p.s.x.data(), p.s.h.data(), p.n, p.c.dim);
  return p.s.h.data();
}

void layer(const Pass& p, int64_t i) {
  const Layer& l = p.model.weights.layers[static_cast<size_t>(i)];
  if (!p.c.parallel_residual) {
    attention(p, i, l, block_input(p, l.attn_norm));
    add_block(p, l.attn_post_norm);
    any_ffn(p, l, block_input(p, l.ffn_norm));
    add_block(p, l.ffn_post_norm);
    return;
  }
  // Both blocks read the layer's input, so the ffn's is made before x changes.
  attention(p, i, l, block_input(p, l.attn_norm));
  const float* h = l.ffn_norm ? block_input(p, l.ffn_norm) : p.s.h.data();
  add_block(p, l.attn_post_norm);
  any_ffn(p, l, h);
  add_block(p, l.ffn_post_norm);
}

// hidden = norm(x) and logits = output · hidden, for the items that want them.
void predict(const Pass& p) {
  const Config& c = p.c;
  State& s = p.s;
  int64_t seen = 0, wanted = 0;
  for (const Item& item : p.batch) seen += item.wants != Wants::kNothing, wanted += item.wants == Wants::kLogits;
  s.hidden.resize(static_cast<size_t>(seen * c.dim));
  s.logits.resize(static_cast<size_t>(wanted * c.n_vocab));
  if (seen == 0) return;
  const float* x = s.x.data();
  float *gathered = s.h.data(), *hidden = s.hidden.data();
  for (const Item& item : p.batch) {
    if (item.wants != Wants::kNothing) gathered = std::copy_n(x, c.dim, gathered);
    x += c.dim;
  }
  p.ops.norm(c, p.model.weights.output_norm, s.h.data(), hidden, seen, c.dim);
  if (wanted == 0) return;
  if (wanted < seen) {  // of the hidden states, those that are multiplied
    gathered = s.h.data();
    for (const Item& item : p.batch) {
      if (item.wants == Wants::kLogits) gathered = std::copy_n(hidden, c.dim, gathered);
      if (item.wants != Wants::kNothing) hidden += c.dim;
    }
    hidden = s.h.data();
  }
  const Matrix& output = p.model.weights.output;
  p.ops.matmul(output, p.ops.prepare(hidden, wanted, c.dim, {&output}, s.blocks), s.logits.data(), c.n_vocab);
  p.ops.pool().parallel_for(wanted, 1, [&](int64_t begin, int64_t end) {
    float* logits = s.logits.data() + begin * c.n_vocab;
    const int64_t count = (end - begin) * c.n_vocab;
    if (c.logit_scale != 1.0f) p.ops.kernels().scale(logits, c.logit_scale, count);
    if (c.final_soft_cap > 0) p.ops.kernels().soft_cap(logits, count, c.final_soft_cap);
  });
}

}  // namespace

namespace {

// How large each array is for batches of `max` tokens: one list for what is allocated and what is asked for before.
std::vector<std::pair<std::vector<float> State::*, int64_t>> arrays(const Config& c, int64_t max) {
  const int64_t choices = choices_together(c, max), ffn = std::max(max * c.widest_ffn(), choices * c.expert_ffn_dim);
  return {{&State::x, max * c.dim}, {&State::h, max * c.dim}, {&State::y, max * c.dim},
          {&State::q, max * c.n_heads * c.head_dim}, {&State::k, max * c.kv_dim()}, {&State::v, max * c.v_dim()},
          {&State::attended, max * c.n_heads * c.value_dim}, {&State::gate, ffn}, {&State::up, ffn},
          {&State::router, max * c.n_experts}, {&State::chances, c.n_experts}, {&State::expert_rows, choices * c.dim}};
}
// The same for those of quantized activations, in blocks.
std::vector<std::pair<std::vector<ActBlock> State::*, int64_t>> block_arrays(const Config& c, int64_t max) {
  const int64_t choices = choices_together(c, max);
  return {{&State::blocks, std::max(max * std::max(c.dim, c.n_heads * c.value_dim), choices * c.dim) / kActBlock},
          {&State::ffn_blocks, std::max(max * c.widest_ffn(), choices * c.expert_ffn_dim) / kActBlock}};
}

}  // namespace

State::State(const Config& c, int64_t max) : max_batch(max) {
  for (const auto& [array, size] : arrays(c, max)) (this->*array).resize(static_cast<size_t>(size));
  for (const auto& [array, size] : block_arrays(c, max)) (this->*array).resize(static_cast<size_t>(size));
  experts.resize(static_cast<size_t>(c.n_experts));
  choices.reserve(static_cast<size_t>(choices_together(c, max)));
  products.reserve(2 * choices.capacity());
  positions.reserve(static_cast<size_t>(max));
}

uint64_t State::bytes_needed(const Config& c, int64_t max) {
  // Of each token a position, and its cosines and sines for two kinds of layers; of each choice itself and its products.
  int64_t bytes = max * (1 + 2 * c.rope_dim) * static_cast<int64_t>(sizeof(float));
  bytes += choices_together(c, max) * static_cast<int64_t>(sizeof(Choice) + 2 * sizeof(MatMul)) + c.n_experts * 4;
  for (const auto& [array, size] : arrays(c, max)) bytes += size * static_cast<int64_t>(sizeof(float));
  for (const auto& [array, size] : block_arrays(c, max)) bytes += size * static_cast<int64_t>(sizeof(ActBlock));
  return static_cast<uint64_t>(bytes);
}

void forward(const Model& model, KvCache& cache, State& state, Ops& ops, RopeTables& rope, std::span<const Item> batch,
             const int32_t* abort) {
  const Pass p{model, model.config, cache, state, ops, rope, batch, static_cast<int64_t>(batch.size())};
  if (p.c.rope != Rope::kNone) {
    state.positions.clear();
    for (const Item& item : batch) state.positions.push_back(item.pos);
    rope.prepare(state.positions);
  }
  embed(p);
  for (int64_t i = 0; i < p.c.n_layers; ++i) {
    // Another thread, and another language, sets it.
    if (abort && __atomic_load_n(abort, __ATOMIC_RELAXED)) fail(ErrorKind::kCancelled, "the evaluation was cancelled");
    layer(p, i);
  }
  predict(p);
}

}  // namespace pl

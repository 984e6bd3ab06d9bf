// The forward pass: a batch of tokens through the model, into the cache and out as logits.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kv_cache.h"
#include "model.h"
#include "ops.h"
#include "rope.h"

namespace pl {

// What is wanted of a token beside its place in the cache: the final norm's output, or that and the logits.
enum class Wants : int32_t { kNothing, kHidden, kLogits };

// One token of a batch: where it stands in which sequence. Its sequence's cache holds the positions before it.
struct Item {
  int32_t token = 0;
  int32_t seq = 0;
  int32_t pos = 0;
  Wants wants = Wants::kNothing;
};

// An expert that a token has chosen, and what its output is multiplied by.
struct Choice {
  int32_t expert, token;
  float weight;
};
// How many choices of a batch of `max` tokens are computed together, in whole tokens: as many as there are, while their
// arrays stay within 32 MiB. 0 for a model without experts.
int64_t choices_together(const Config& config, int64_t max);

// The arrays of one pass, for up to max_batch tokens; made once.
struct State {
  State(const Config& config, int64_t max_batch);
  // The bytes that its arrays take, and the tables of rope for such a batch; without results.
  static uint64_t bytes_needed(const Config& config, int64_t max_batch);

  int64_t max_batch;
  std::vector<float> x;         // (n, dim), the residual stream
  std::vector<float> h;         // (n, dim), normalized
  std::vector<float> q;         // (n, n_heads * head_dim)
  std::vector<float> k;         // (n, n_kv_heads * head_dim)
  std::vector<float> v;         // (n, n_kv_heads * value_dim)
  std::vector<float> attended;  // (n, n_heads * value_dim)
  std::vector<float> y;         // (n, dim), what a block adds to x
  std::vector<float> gate, up;  // (n, ffn_dim), of the widest
  std::vector<float> router;    // (n, n_experts)
  std::vector<int32_t> experts;    // (n_experts), one token's, the likeliest first
  std::vector<float> chances;      // (n_experts), one token's
  std::vector<Choice> choices;     // of a batch's tokens, by expert
  std::vector<float> expert_rows;  // (choices, dim), what goes into experts, and what comes out of them
  std::vector<MatMul> products;    // of all experts
  std::vector<float> latent, latent_part, latent_wide;  // of latent attention, where there is any
  std::vector<ActBlock> blocks, ffn_blocks;  // activations, quantized
  std::vector<int32_t> positions;            // (n)

  std::vector<float> hidden;  // (wanted, dim): the final norm's output of the items that wanted anything
  std::vector<float> logits;  // (wanted, n_vocab): of those that wanted logits
};

// Evaluates `batch`, 1 to state.max_batch items; items of a sequence come in the order of their positions. Where `abort`
// is not null and *abort becomes non-zero, fails with kCancelled within a layer's time.
void forward(const Model& model, KvCache& cache, State& state, Ops& ops, RopeTables& rope, std::span<const Item> batch,
             const int32_t* abort);

}  // namespace pl

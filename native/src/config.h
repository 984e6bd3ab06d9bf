// What a model computes: Kind is the same for all models of an architecture, Config adds what its file says.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

namespace pl {

enum class Norm { kRms, kLayer };
enum class Rope { kNone, kInterleaved, kHalves };  // which elements of a head are a pair; see kernels.h
enum class RopeScaling { kNone, kLinear, kYarn, kLongRope };
enum class Activation { kSilu, kGeluTanh, kGeluErf, kSwigluClamped, kReluSquared };
// Norms of queries and keys: of each head, with one weight for all of them; over all heads at once; of each head, with
// weights of its own, where the file has them.
enum class QkNorm { kNone, kHeads, kWhole, kOwn };
enum class BlockNorms { kBefore, kAround, kBehind };  // where attention and ffn are normalized

// What the name of an architecture says; the defaults are LLaMA's.
struct Kind {
  Norm norm = Norm::kRms;
  bool norm_weights = true;            // norms have weights
  Rope rope = Rope::kInterleaved;
  Activation activation = Activation::kSilu;
  bool gated = true;                   // the ffn has a gate
  QkNorm qk_norm = QkNorm::kNone;
  bool qk_norm_after_rope = false;
  BlockNorms norms = BlockNorms::kBefore;
  const char* ffn_norm = "ffn_norm";   // what the file calls the norm before the ffn
  bool embd_norm = false;              // embeddings are normalized
  bool learned_positions = false;
  bool sinks = false;                  // each head has a logit that takes its share of attention, and gives nothing
  bool parallel_residual = false;      // attention and ffn both read the layer's input
  bool shared_gated = false;           // each token says how much it wants of the expert that all take
  bool experts_sigmoid = false;        // probabilities of experts are sigmoids, not a softmax
  bool experts_normalized = true;      // those of the chosen are made to sum to 1
};

struct Config : Kind {
  std::string architecture;
  int64_t n_layers = 0, dim = 0, n_vocab = 0;
  int64_t n_layers_ahead = 0;  // layers in the file behind those, which predict further tokens and are not used
  int64_t n_heads = 0, n_kv_heads = 0;
  int64_t head_dim = 0;    // of queries and keys
  int64_t value_dim = 0;   // of values
  int64_t ffn_dim = 0;     // hidden size of the feed-forward network; 0 where all of it is experts
  int64_t n_ctx_train = 0;
  float norm_eps = 1e-5f;

  int64_t rope_dim = 0;          // how many elements of a head turn
  float rope_base = 10000.0f;
  float rope_base_local = 0.0f;  // of sliding-window layers, whose positions are not scaled; 0: they turn as the others
  RopeScaling rope_scaling = RopeScaling::kNone;
  float rope_factor = 1.0f;      // positions are divided by this (linear, and yarn's low frequencies)
  int64_t rope_ctx_original = 0; // the context before it was stretched
  float rope_magnitude = 1.0f;   // multiplies cos and sin
  bool yarn_truncate = true;     // the ramp's ends are rounded to whole dimensions
  float yarn_beta_fast = 32.0f, yarn_beta_slow = 1.0f;
  int64_t nope_every = 0;        // every n-th layer has no rope
  bool nope_global = false;      // only sliding layers have

  int64_t window = 0;            // a sliding-window layer sees this many tokens, itself among them
  std::vector<uint8_t> sliding;  // (n_layers), or empty: none slides
  float attn_scale = 0.0f;       // of query · key
  float attn_temperature = 0.0f; // queries grow by this times ln(1 + ⌊position / attn_temperature_ctx⌋)
  int64_t attn_temperature_ctx = 0;
  float attn_soft_cap = 0.0f, final_soft_cap = 0.0f;  // 0: none
  std::vector<float> alibi_slopes;  // (n_heads), or empty: by how much a score falls with each token of distance
  float qkv_clamp = 0.0f;        // queries, keys and values are held within ±this; 0: they are not
  float embedding_scale = 1.0f, residual_scale = 1.0f, logit_scale = 1.0f;

  // Latent attention: keys and values are made of kv_rank numbers (0: they are not), queries of q_rank (0: of h).
  int64_t kv_rank = 0, q_rank = 0;
  int64_t latent_key_dim = 0, latent_value_dim = 0;  // of a head, when they are made
  bool absorbs_latent = false;   // they are never made: each head looks at the kv_rank numbers, through a matrix

  int64_t n_experts = 0, n_experts_used = 0, expert_ffn_dim = 0;
  int64_t shared_ffn_dim = 0;    // of the expert that every token takes; 0: there is none
  int64_t n_dense_layers = 0;    // so many layers at the beginning have no experts
  int64_t n_expert_groups = 1, n_expert_groups_used = 1;  // experts are chosen from the best groups of equal size
  float experts_scale = 1.0f;    // multiplies what the chosen give

  bool slides(int64_t layer) const { return !sliding.empty() && sliding[static_cast<size_t>(layer)]; }
  bool turns(int64_t layer) const {
    return rope != Rope::kNone && (nope_every == 0 || (layer + 1) % nope_every != 0) && (!nope_global || slides(layer));
  }
  int64_t widest_ffn() const { return std::max({ffn_dim, expert_ffn_dim, shared_ffn_dim}); }
  bool has_experts(int64_t layer) const { return n_experts > 0 && layer >= n_dense_layers; }
  int64_t kv_dim() const { return n_kv_heads * head_dim; }
  int64_t attended_dim() const { return n_heads * (absorbs_latent ? latent_value_dim : value_dim); }
  int64_t v_dim() const { return n_kv_heads * value_dim; }
};

}  // namespace pl

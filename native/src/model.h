// A model as the forward pass sees it: Config says what is computed, Weights hold what it is computed with. This is the
// map of the engine: every array stands here with its shape. Matrices are (rows, cols), row-major, in the file's own
// format; a product is out(rows) = matrix(rows, cols) · in(cols).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "gguf.h"
#include "kernels/kernels.h"
#include "types.h"

namespace pl {

enum class Norm { kRms, kLayer };
enum class Rope { kNone, kInterleaved, kHalves };  // which elements of a head are a pair; see kernels.h
enum class RopeScaling { kNone, kLinear, kYarn, kLongRope };
enum class Activation { kSilu, kGeluTanh, kGeluErf, kSwigluClamped };

struct Config {
  std::string architecture;
  int64_t n_layers = 0, dim = 0, n_vocab = 0;
  int64_t n_heads = 0, n_kv_heads = 0;
  int64_t head_dim = 0;    // of queries and keys
  int64_t value_dim = 0;   // of values
  int64_t ffn_dim = 0;     // hidden size of the feed-forward network; 0 where all of it is experts
  int64_t n_ctx_train = 0;

  Norm norm = Norm::kRms;
  float norm_eps = 1e-5f;
  Activation activation = Activation::kSilu;
  bool parallel_residual = false;  // attention and ffn both read the layer's input

  Rope rope = Rope::kInterleaved;
  int64_t rope_dim = 0;          // how many elements of a head turn
  float rope_base = 10000.0f;
  float rope_base_local = 0.0f;  // of sliding-window layers, 0: the same
  RopeScaling rope_scaling = RopeScaling::kNone;
  float rope_factor = 1.0f;      // positions are divided by this (linear, and yarn's low frequencies)
  int64_t rope_ctx_original = 0; // the context before it was stretched
  float rope_attn_factor = 0.0f; // multiplies cos and sin, beside what yarn itself says; 0: does not
  bool yarn_truncate = true;     // the ramp's ends are rounded to whole dimensions
  float yarn_beta_fast = 32.0f, yarn_beta_slow = 1.0f;
  int64_t nope_every = 0;        // every n-th layer has no rope (SmolLM3)

  int64_t window = 0;            // a sliding-window layer sees this many tokens, itself among them; 0: none does
  int64_t global_every = 0;      // every n-th layer is not sliding (0: all slide), counted from global_first
  int64_t global_first = 0;
  float attn_scale = 0.0f;       // of query · key
  float attn_soft_cap = 0.0f, final_soft_cap = 0.0f;  // 0: none
  float embedding_scale = 1.0f, residual_scale = 1.0f, logit_scale = 1.0f;

  int64_t n_experts = 0, n_experts_used = 0, expert_ffn_dim = 0;

  bool slides(int64_t layer) const {
    return window > 0 && (global_every == 0 || layer % global_every != global_first);
  }
  bool turns(int64_t layer) const {
    return rope != Rope::kNone && (nope_every == 0 || (layer + 1) % nope_every != 0);
  }
  int64_t kv_dim() const { return n_kv_heads * head_dim; }
  int64_t v_dim() const { return n_kv_heads * value_dim; }
};

// A weight matrix where it lies in the file, and an optional bias.
struct Matrix {
  Type type = Type::F32;
  const std::byte* data = nullptr;
  int64_t rows = 0, cols = 0;
  int64_t row_bytes = 0;
  const MatType* mat = nullptr;
  const float* bias = nullptr;  // (rows), or null

  explicit operator bool() const { return data != nullptr; }
  const std::byte* row(int64_t i) const { return data + i * row_bytes; }
  // Rows [first, first + n): the q, k and v of a fused matrix, or one expert of many.
  Matrix slice(int64_t first, int64_t n) const {
    Matrix part = *this;
    part.data = row(first), part.rows = n;
    if (bias) part.bias = bias + first;
    return part;
  }
};

// A matrix (rows, cols) for each of n experts.
struct Experts {
  Matrix all;                // (n * rows, cols), all in one tensor, or empty
  std::vector<Matrix> each;  // n of one type, in tensors of their own, or none
  int64_t rows = 0;

  const Matrix& any() const { return each.empty() ? all : each[0]; }
  Matrix operator[](int64_t i) const { return each.empty() ? all.slice(i * rows, rows) : each[static_cast<size_t>(i)]; }
};

struct NormWeights {
  const float* weight = nullptr;  // null: this norm is not there
  const float* bias = nullptr;
  explicit operator bool() const { return weight != nullptr; }
};

struct Layer {
  NormWeights attn_norm;       // (dim)
  Matrix wq;                   // (n_heads * head_dim, dim)
  Matrix wk;                   // (n_kv_heads * head_dim, dim)
  Matrix wv;                   // (n_kv_heads * value_dim, dim)
  Matrix wo;                   // (dim, n_heads * value_dim)
  NormWeights q_norm, k_norm;  // (head_dim), or (n_heads * head_dim) and (n_kv_heads * head_dim)
  bool qk_norm_whole = false;  // the latter: over all heads at once
  const float* sinks = nullptr;       // (n_heads)
  NormWeights attn_post_norm;  // (dim), on the attention's output

  NormWeights ffn_norm;        // (dim); not there: the ffn reads what attention reads
  Matrix gate;                 // (ffn_dim, dim); not there: the ffn is not gated
  Matrix up;                   // (ffn_dim, dim)
  Matrix down;                 // (dim, ffn_dim)
  NormWeights ffn_post_norm;   // (dim), on the ffn's output

  Matrix router;               // (n_experts, dim); there: a mixture of experts
  Experts expert_gate, expert_up;  // (expert_ffn_dim, dim)
  Experts expert_down;             // (dim, expert_ffn_dim)
};

struct Weights {
  Matrix token_embd;                  // (n_vocab, dim)
  Matrix position_embd;               // (n_ctx_train, dim), where positions are learned
  NormWeights embd_norm;              // (dim)
  std::vector<Layer> layers;
  NormWeights output_norm;            // (dim)
  Matrix output;                      // (n_vocab, dim); often the token embedding itself
  const float* rope_factors = nullptr;        // (rope_dim / 2): frequencies are divided by these (LLaMA 3.1)
  const float* rope_factors_long = nullptr;   // (rope_dim / 2), LongRoPE: for contexts beyond rope_ctx_original
  const float* rope_factors_short = nullptr;  // (rope_dim / 2), LongRoPE: up to it
};

// A loaded model. Immutable; the weights are used where they lie in the mapped file.
struct Model {
  Gguf file;
  Config config;
  Weights weights;
  std::vector<std::unique_ptr<float[]>> vectors;  // norms and biases, converted to F32

  // Fails with kUnsupported for an architecture that is not in the table, kInvalidModel where file and header disagree.
  static std::unique_ptr<Model> load(const std::string& path, bool use_mmap);
};

}  // namespace pl

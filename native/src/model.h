// A model as the forward pass sees it: Config (config.h) says what is computed, Weights hold what it is computed with.
// This is the map of the engine: every array stands here with its shape. Matrices are (rows, cols), row-major, in the
// file's own format; a product is out(rows) = matrix(rows, cols) · in(cols).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "config.h"
#include "gguf.h"
#include "kernels/kernels.h"
#include "page_in.h"
#include "types.h"

namespace pl {

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

// A matrix (rows, cols) for each of n experts, or heads.
struct Experts {
  Matrix all;                // (n * step, cols), all in one tensor, or empty
  std::vector<Matrix> each;  // n of one type, in tensors of their own, or none
  int64_t rows = 0;
  int64_t first = 0, step = 0;  // of `all`, expert i has the rows from first + i * step

  const Matrix& any() const { return each.empty() ? all : each[0]; }
  Matrix operator[](int64_t i) const {
    return each.empty() ? all.slice(first + i * step, rows) : each[static_cast<size_t>(i)];
  }
};

struct NormWeights {
  const float* weight = nullptr;  // null: 1
  const float* bias = nullptr;    // null: 0
  bool there = false;
  explicit operator bool() const { return there; }
};

struct Ffn {
  Matrix gate;  // (ffn_dim, dim); not there: the ffn is not gated
  Matrix up;    // (ffn_dim, dim)
  Matrix down;  // (dim, ffn_dim)
};

struct Layer {
  NormWeights attn_norm;       // (dim)
  Matrix wq;                   // (n_heads * head_dim, dim)
  Matrix wk;                   // (n_kv_heads * head_dim, dim)
  Matrix wv;                   // (n_kv_heads * value_dim, dim)
  Matrix wo;                   // (dim, attended_dim)
  Matrix q_down;               // (q_rank, dim), and wq is (n_heads * latent_key_dim, q_rank)
  NormWeights q_down_norm;     // (q_rank)
  Matrix kv_down;              // (kv_rank + rope_dim, dim); there: latent attention, and neither wk nor wv
  NormWeights kv_down_norm;    // (kv_rank)
  Matrix kv_up;                // (n_heads * (latent_key_dim - rope_dim + latent_value_dim), kv_rank), or where absorbed
  Experts k_up, v_up;          // for each head (kv_rank, latent_key_dim - rope_dim) and (latent_value_dim, kv_rank)
  NormWeights q_norm, k_norm;  // (head_dim), or (n_heads * head_dim) and (n_kv_heads * head_dim); see QkNorm
  const float* sinks = nullptr;  // (n_heads)
  NormWeights attn_post_norm;  // (dim), on the attention's output

  NormWeights ffn_norm;        // (dim); not there: the ffn reads what attention reads
  Ffn ffn;                     // of ffn_dim; not there in a mixture of experts
  NormWeights ffn_post_norm;   // (dim), on the ffn's output

  Matrix router;               // (n_experts, dim); there: a mixture of experts
  const float* router_bias = nullptr;  // (n_experts), counts in the choice of experts, and not in their weights
  Experts expert_gate, expert_up;  // (expert_ffn_dim, dim)
  Experts expert_down;             // (dim, expert_ffn_dim)
  Ffn shared;                      // of shared_ffn_dim: the expert that every token takes
  Matrix shared_gate;              // (1, dim): how much of it
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
  std::unique_ptr<PageIn> page_in;                // of the mapped weights; the last member, for it looks at the file

  // Fails with kUnsupported for an architecture that is not in the table, kInvalidModel where file and header disagree.
  static std::unique_ptr<Model> load(const std::string& path, bool use_mmap);
};

}  // namespace pl

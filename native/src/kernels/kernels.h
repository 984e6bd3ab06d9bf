// The kernels: one table of function pointers, chosen once for this machine. scalar.cc fills every slot and
// is the specification; a file per ISA (avx2.cc, …) overwrites what it does faster, by the same signatures.
//
// Every kernel is a pure function of its arguments with one fixed order of additions: a result depends
// neither on the number of threads nor on what else is in the batch. Pointers to weights may have any
// alignment that TensorInfo::data plus whole rows gives; n is in elements, and for weights a multiple of the
// type's block. Outputs may be inputs (in place) where both are float*, unless a slot says otherwise.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../types.h"

namespace pl {

// 32 activations for a quantized matrix: x[i] ≈ d * q[i]. One scale for each 32, whatever the weights' own
// blocks are: one for 256 would lose what stands beside an outlier. The sums pay for zero points and minima
// without touching q.
struct ActBlock {
  float d;                 // largest magnitude / 127; 0 for all-zero; NaN (and q of 0) where an x is no number
  float d_sum;             // d * Σ q
  int32_t minus_sum;       // -Σ q
  int32_t minus_sum16[2];  // the same of q[0..16) and of q[16..32)
  // The same by where a product of bytes in 16 bits puts them: of q[4i] and q[4i + 1], of q[4i + 2] and q[4i + 3].
  int16_t minus_pairs[2], minus_pairs16[2][2];
  int8_t q[32];            // -127..127, rounded to nearest, ties to even
};
constexpr int64_t kActBlock = 32;
static_assert(sizeof(ActBlock) == 64);  // one line of the caches

// A piece of out(t, r) = w(r, :) · in(t, :), t < n, r < rows.
struct Product {
  const std::byte* w;    // (rows, cols), rows row_bytes apart
  int64_t row_bytes, rows, cols;
  const ActBlock* act;   // where MatType::int8_activations: (n, cols / 32) in tiles, see Kernels::act_tile
  const float* x;        // else: (n, cols)
  int64_t n;             // at least 1
  float* out;            // out(t, r) is out[t * out_stride + r]
  int64_t out_stride;
};
using Multiply = void (*)(const Product& product);

// What is done with a matrix of one Type. All null for a type that cannot be multiplied by (TypeInfo::weights
// is false).
struct MatType {
  bool int8_activations = false;
  Multiply multiply = nullptr;
  void (*dequant)(const void* w_row, float* out, int64_t n) = nullptr;  // any span of whole blocks
};

// Keys that attention looks at together.
constexpr int64_t kAttentionKeys = 64;

// A block of up to so many keys of one KV head, with their values, as floats or as halves.
template <class Element>
struct AttentionBlockOf {
  const Element* keys;    // (head_dim, kAttentionKeys); anything where no key is
  const Element* values;  // (kAttentionKeys, value_stride), of which value_dim are used; finite up to a whole vector
  int64_t head_dim, value_dim, value_stride;
  float scale, soft_cap;  // a score is scale * (q · key), then soft_cap * tanh(score / soft_cap) if soft_cap > 0
};
using AttentionBlock = AttentionBlockOf<float>;
using HalfAttentionBlock = AttentionBlockOf<uint16_t>;

// A query on its way through the blocks. It sees the keys [first, end) of this one; there may be none.
struct AttentionQuery {
  const float* q;   // (head_dim)
  float* out;       // (value_dim): Σ e^(score - top) * value
  float *top, *sum; // the highest score so far, at first minus infinity; Σ e^(score - top)
  int64_t first, end;
  float slope;      // ALiBi: a score falls by it with each token of distance; 0: it does not
  int64_t behind;   // the query's place, counted from the block's first key
};

constexpr uint32_t kMatTypes = 40;  // indices are Type's numbers

struct Kernels {
  const char* isa = "scalar";  // the highest ISA that filled a slot
  MatType mat[kMatTypes];

  // Tokens are multiplied by in tiles of so many, the last one of what is left; the blocks of a tile of `width` tokens
  // lie together: block (t, g) of it at g * width + t.
  int64_t act_tile = 1;
  // n activations into n / 32 blocks, `stride` apart; n is a multiple of 32.
  void (*quantize_act)(const float* x, ActBlock* out, int64_t stride, int64_t n);

  // out = x / sqrt(mean(x²) + eps) * weight;  weight (n) may be null for 1.
  void (*rms_norm)(const float* x, const float* weight, float* out, int64_t n, float eps);
  // out = (x - mean) / sqrt(variance + eps) * weight + bias;  weight and bias (n) may each be null.
  void (*layer_norm)(const float* x, const float* weight, const float* bias, float* out, int64_t n,
                     float eps);

  // In place: cap * tanh(x / cap).
  void (*soft_cap)(float* x, int64_t n, float cap);

  // out = f(gate) * up;  up may be null for 1.
  void (*silu_mul)(const float* gate, const float* up, float* out, int64_t n);
  void (*gelu_tanh_mul)(const float* gate, const float* up, float* out, int64_t n);
  void (*gelu_erf_mul)(const float* gate, const float* up, float* out, int64_t n);
  // gpt-oss: g = min(gate, limit), u = clamp(up, -limit, limit);  out = g * sigmoid(alpha * g) * (u + 1).
  void (*swiglu_clamped)(const float* gate, const float* up, float* out, int64_t n, float alpha, float limit);

  // In place on the first n_rot elements of one head: pair i turned by the angle whose cos and sin (n_rot / 2)
  // are given. Pairs are (2i, 2i + 1) as in llama and gptj, or (i, i + n_rot / 2) as in gptneox.
  void (*rope_interleaved)(float* x, const float* cos, const float* sin, int64_t n_rot);
  void (*rope_halves)(float* x, const float* cos, const float* sin, int64_t n_rot);

  void (*add)(const float* a, const float* b, float* out, int64_t n);
  void (*mul)(const float* a, const float* b, float* out, int64_t n);
  void (*scale)(float* x, float factor, int64_t n);  // in place

  // f16 is IEEE half in a uint16_t; to f16 rounds to nearest even, beyond its range to infinity.
  void (*f32_to_f16)(const float* x, uint16_t* out, int64_t n);
  void (*f16_to_f32)(const uint16_t* x, float* out, int64_t n);

  // n queries, each on its own, over one block of keys.
  void (*attend_block)(const AttentionBlock& block, const AttentionQuery* queries, int64_t n);
  // The same to the last bit for keys and values in F16, where up to `few_queries` take less time so than with the block
  // unpacked; value_stride is value_dim then, and whole vectors.
  void (*attend_halves)(const HalfAttentionBlock& block, const AttentionQuery* queries, int64_t n) = nullptr;
  int64_t few_queries = 0;
  // out (head_dim, kAttentionKeys) = the transpose of n rows of keys, `stride` apart; zeros for what is not there.
  void (*transpose_keys)(const float* rows, int64_t stride, int64_t n, int64_t head_dim, float* out);

  void (*axpy_f32)(float* acc, float p, const float* row, int64_t n);  // acc += p * row
};

// The table for this machine: made on the first call, the same ever after. The environment variable
// POCKETLLAMA_ISA (scalar, avx2, neon, …) names the highest ISA that may be used; an unknown name fails with
// kUsage.
const Kernels& kernels();

// Whether this machine has an ISA, by its name there, and POCKETLLAMA_ISA does not mask it.
bool isa_allowed(const char* isa);

// What the table holds for a type; fails with kUnsupported for one that cannot be multiplied by.
const MatType& mat_type(const Kernels& table, Type type);

// For kernels() and tests: the table up to `isa` (null: all), as far as this machine has it.
Kernels make_kernels(const char* isa);

// One for each file of kernels; each overwrites the slots that it has. Only to be called on a machine that
// has the ISA. Null where the compiler does not know it, or where it was left out (left_out.cc).
using Fill = void (*)(Kernels& table);
extern const Fill kFillScalar;
extern const Fill kFillAvx2, kFillAvxVnni, kFillAvx512, kFillAvx512Vnni;
extern const Fill kFillNeon, kFillNeonDotprod, kFillNeonI8mm;

}  // namespace pl

// How well logits predict what came, and how far they are from another model's: what perplexity and divergence are made of.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace pl {

// A row of logits in little space, as logarithms of probabilities: one step for all tokens, 16 bits for each. The largest has
// no error, the others one of half a step; below e^-40 all are alike. The likeliest token is kept by itself.
//
//   float32 largest, float32 step, int32 likeliest, then uint16 q for each token: log p = largest - step * q
int64_t packed_logits_bytes(int64_t n_vocab);
void pack_logits(std::span<const float> logits, std::byte* out);

struct Loss {
  double loss;       // -log p of the token that came, natural
  double base_loss;  // the same by the base
  double divergence; // Σ p_base log(p_base / p)
  bool same_top;     // whether both hold the same token for the likeliest
};

// `base`: a packed row of the same vocabulary, or null, which leaves the rest 0. Fails with kUsage for a token outside the
// vocabulary or a row that nobody packed, with kInternal where the logits hold a NaN.
Loss loss_of(std::span<const float> logits, int32_t token, const std::byte* base);

}  // namespace pl

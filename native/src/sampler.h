// From logits to a token. The stages and their order are those that users know from llama.cpp:
//   mask → logit bias → penalties → DRY → top-k → typical → top-p → min-p → XTC → temperature → draw, or mirostat 2 in place of
//   everything behind the penalties but temperature.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "rng.h"

namespace pl {

struct SamplerParams {
  float temperature = 0.8f;  // 0: greedy
  int32_t top_k = 40;        // 0: all
  float top_p = 0.95f;       // 1: all
  float min_p = 0.0f;        // keep what is at least this fraction of the likeliest; 0: all
  float typical_p = 1.0f;    // locally typical sampling (Meister et al. 2022); 1: off
  float xtc_probability = 0.0f, xtc_threshold = 0.1f;

  int32_t penalty_last_n = 64;  // tokens looked back at; -1: all of them
  float repetition_penalty = 1.0f;
  float frequency_penalty = 0.0f, presence_penalty = 0.0f;

  float dry_multiplier = 0.0f, dry_base = 1.75f;  // 0: off
  int32_t dry_allowed_length = 2, dry_last_n = -1;
  std::vector<int32_t> dry_breakers;  // tokens that end a repetition, sorted

  bool mirostat = false;  // mirostat 2 (Basu et al. 2021)
  float mirostat_tau = 5.0f, mirostat_eta = 0.1f;

  std::vector<std::pair<int32_t, float>> logit_bias;
  uint64_t seed = 0;
};

// One request's sampler: the parameters, its stream of random numbers and mirostat's state. Not for two threads at once.
class Sampler {
 public:
  // Fails with kUsage for a parameter that makes no sense.
  explicit Sampler(SamplerParams params);

  // Only tokens whose bit in `mask` is set, of n_vocab, may be the next one that is drawn; the one after it is free again.
  void allow(std::span<const uint32_t> mask) { mask_.assign(mask.begin(), mask.end()); }

  // The next token after `history`, from `logits` (n_vocab). Fails with kInternal when the logits hold a NaN, and with
  // kUsage when the mask leaves none.
  int32_t sample(std::span<const float> logits, std::span<const int32_t> history);

 private:
  struct Candidate {
    int32_t token;
    float logit;
    float p;
  };

  void gather(std::span<const float> logits);
  void apply_penalties(std::span<const int32_t> history);
  void apply_dry(std::span<const int32_t> history);
  void keep_top_k();
  void softmax_sorted();
  void keep_typical();
  void keep_top_p();
  void keep_min_p();
  void exclude_top_choices();
  void apply_temperature();
  int32_t draw();
  int32_t draw_mirostat();
  int32_t argmax() const;
  // Whether a token may be drawn at all. A logit of -infinity would not say so: some stages let the last ones through.
  bool allowed(size_t token) const {
    return mask_.empty() || (token / 32 < mask_.size() && (mask_[token / 32] >> (token % 32) & 1u) != 0);
  }

  SamplerParams params_;
  Rng rng_;
  float mirostat_mu_;
  std::vector<uint32_t> mask_;          // of the next draw; empty: every token
  std::vector<float> logits_;           // (n_vocab), after bias and penalties
  std::vector<Candidate> candidates_;   // what is left, likeliest first once softmax_sorted has run
  std::vector<int32_t> dry_match_;      // scratch: how long a repetition ends at each position
};

}  // namespace pl

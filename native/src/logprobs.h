// Logarithms of probabilities, from logits.
#pragma once

#include <cstdint>
#include <span>

namespace pl {

// out (the size of `tokens`) gets the log-probability of each token under `logits` (n_vocab). The first `given` tokens are
// asked for; the others are written: the likeliest, the likeliest first and of equals the lower id. Fails with kUsage for
// a token outside the vocabulary and for more likeliest ones than there are, with kInternal when the logits hold a NaN.
void log_probabilities(std::span<const float> logits, std::span<int32_t> tokens, std::span<float> out, size_t given);

}  // namespace pl

#include "logprobs.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "error.h"

namespace pl {

void log_probabilities(std::span<const float> logits, std::span<int32_t> tokens, std::span<float> out, size_t given) {
  const size_t top = tokens.size() - given;
  if (top > logits.size()) {
    fail(ErrorKind::kUsage, "the %zu likeliest of %zu tokens are asked for", top, logits.size());
  }
  for (const int32_t token : tokens.first(given)) {
    if (token < 0 || static_cast<size_t>(token) >= logits.size()) {
      fail(ErrorKind::kUsage, "token %d is not one of %zu", token, logits.size());
    }
  }
  if (std::any_of(logits.begin(), logits.end(), [](float x) { return std::isnan(x); })) {
    fail(ErrorKind::kInternal, "the logits hold a value that is not a number");
  }
  if (top > 0) {
    std::vector<int32_t> order(logits.size());
    std::iota(order.begin(), order.end(), 0);
    const auto likelier = [&](int32_t a, int32_t b) {
      const float x = logits[static_cast<size_t>(a)], y = logits[static_cast<size_t>(b)];
      return x != y ? x > y : a < b;
    };
    const auto end = order.begin() + static_cast<ptrdiff_t>(top);
    std::partial_sort(order.begin(), end, order.end(), likelier);
    std::copy(order.begin(), end, tokens.begin() + static_cast<ptrdiff_t>(given));
  }
  // Relative to the largest, so that no power overflows; in double, because 100,000 of them are added.
  const float largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0.0;
  for (const float x : logits) sum += x == largest ? 1.0 : std::exp(static_cast<double>(x) - static_cast<double>(largest));
  const double log_sum = std::log(sum);
  for (size_t i = 0; i < tokens.size(); ++i) {
    const float x = logits[static_cast<size_t>(tokens[i])];
    const double distance = x == largest ? 0.0 : static_cast<double>(x) - static_cast<double>(largest);
    out[i] = static_cast<float>(distance - log_sum);
  }
}

}  // namespace pl

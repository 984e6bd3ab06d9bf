#include "loss.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "error.h"

namespace pl {
namespace {

constexpr double kFarthest = 40.0;  // e^-40 of anything is nothing
constexpr int64_t kHead = 12;

struct Head {
  float largest, step;
  int32_t likeliest;
};

int32_t likeliest(std::span<const float> logits) {
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

// log Σ e^x
double log_sum(std::span<const float> logits, float largest) {
  double sum = 0.0;
  for (const float x : logits) sum += std::exp(static_cast<double>(x - largest));
  const double out = static_cast<double>(largest) + std::log(sum);
  if (!std::isfinite(out)) fail(ErrorKind::kInternal, "the logits hold a value that is not a number");
  return out;
}

}  // namespace

int64_t packed_logits_bytes(int64_t n_vocab) { return kHead + 2 * n_vocab; }

void pack_logits(std::span<const float> logits, std::byte* out) {
  const int32_t top = likeliest(logits);
  const float highest = logits[static_cast<size_t>(top)];
  const double sum = log_sum(logits, highest);
  const float lowest = *std::min_element(logits.begin(), logits.end());
  const double range = std::min(static_cast<double>(highest) - static_cast<double>(lowest), kFarthest);
  const Head head{static_cast<float>(static_cast<double>(highest) - sum), static_cast<float>(std::max(range, 1e-6) / 65535.0), top};
  std::memcpy(out, &head, sizeof head);
  std::byte* to = out + kHead;
  const float per_step = 1.0f / head.step;
  for (const float x : logits) {
    const auto q = static_cast<uint16_t>(std::min((highest - x) * per_step + 0.5f, 65535.0f));
    std::memcpy(to, &q, sizeof q);
    to += sizeof q;
  }
}

Loss loss_of(std::span<const float> logits, int32_t token, const std::byte* base) {
  if (token < 0 || static_cast<size_t>(token) >= logits.size()) {
    fail(ErrorKind::kUsage, "token %d is not one of %zu", token, logits.size());
  }
  const int32_t top = likeliest(logits);
  const double sum = log_sum(logits, logits[static_cast<size_t>(top)]);
  Loss out{sum - static_cast<double>(logits[static_cast<size_t>(token)]), 0.0, 0.0, false};
  if (!base) return out;
  Head head;
  std::memcpy(&head, base, sizeof head);
  if (!(head.step > 0.0f) || !(head.step < 1.0f) || !(head.largest <= 0.0f) || !(head.largest > -64.0f)) {
    fail(ErrorKind::kUsage, "the base's logits are damaged");
  }
  const double step = static_cast<double>(head.step), largest = static_cast<double>(head.largest);
  // Rounding has moved their sum a little from 1; the divergence from what is no distribution would be none.
  double total = 0.0, cross = 0.0;
  double came = 0.0;
  const std::byte* from = base + kHead;
  for (size_t i = 0; i < logits.size(); ++i, from += 2) {
    uint16_t q;
    std::memcpy(&q, from, sizeof q);
    const double log_p = largest - step * static_cast<double>(q);
    if (i == static_cast<size_t>(token)) came = log_p;
    const double p = std::exp(log_p);
    total += p, cross += p * (log_p - (static_cast<double>(logits[i]) - sum));
  }
  out.base_loss = -came;
  out.divergence = std::max(cross / total - std::log(total), 0.0);
  out.same_top = head.likeliest == top;
  return out;
}

}  // namespace pl

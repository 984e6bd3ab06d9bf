#include "sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_map>

#include "error.h"

namespace pl {
namespace {

void check(const char* name, float value, float low, float high) {
  if (!(value >= low && value <= high)) {  // false for NaN too
    fail(ErrorKind::kUsage, "%s must be from %g to %g, not %g", name, static_cast<double>(low),
         static_cast<double>(high), static_cast<double>(value));
  }
}

// The part of `history` that a stage with this reach looks at.
std::span<const int32_t> recent(std::span<const int32_t> history, int32_t last_n) {
  const size_t n = last_n < 0 ? history.size() : std::min<size_t>(history.size(), static_cast<size_t>(last_n));
  return history.last(n);
}

// Below this, dividing by the temperature overflows a float: the likeliest token wins anyway.
constexpr float kGreedyBelow = 1e-4f;

}  // namespace

Sampler::Sampler(SamplerParams params)
    : params_(std::move(params)), rng_(params_.seed), mirostat_mu_(2 * params_.mirostat_tau) {
  check("temperature", params_.temperature, 0.0f, 1e4f);
  check("top_p", params_.top_p, 0.0f, 1.0f);
  check("min_p", params_.min_p, 0.0f, 1.0f);
  check("typical_p", params_.typical_p, 0.0f, 1.0f);
  check("xtc_probability", params_.xtc_probability, 0.0f, 1.0f);
  check("xtc_threshold", params_.xtc_threshold, 0.0f, 1.0f);
  check("repetition_penalty", params_.repetition_penalty, 1e-2f, 1e2f);
  check("frequency_penalty", params_.frequency_penalty, -1e2f, 1e2f);
  check("presence_penalty", params_.presence_penalty, -1e2f, 1e2f);
  check("dry_multiplier", params_.dry_multiplier, 0.0f, 1e3f);
  check("dry_base", params_.dry_base, 1.0f, 1e2f);
  check("mirostat_tau", params_.mirostat_tau, 0.0f, 1e2f);
  check("mirostat_eta", params_.mirostat_eta, 0.0f, 1e1f);
  if (params_.top_k < 0) fail(ErrorKind::kUsage, "top_k must not be negative, it is %d", params_.top_k);
  if (params_.dry_allowed_length < 0) {
    fail(ErrorKind::kUsage, "dry_allowed_length must not be negative, it is %d", params_.dry_allowed_length);
  }
  for (const auto& [token, bias] : params_.logit_bias) {
    if (std::isnan(bias)) fail(ErrorKind::kUsage, "the logit bias of token %d is not a number", token);
  }
  std::sort(params_.dry_breakers.begin(), params_.dry_breakers.end());
}

int32_t Sampler::sample(std::span<const float> logits, std::span<const int32_t> history) {
  // However this ends, the mask was for this draw.
  struct Unmask {
    std::vector<uint32_t>& mask;
    ~Unmask() { mask.clear(); }
  } unmask{mask_};
  if (logits.empty()) fail(ErrorKind::kUsage, "there are no logits to sample from");
  gather(logits);
  apply_penalties(recent(history, params_.penalty_last_n));
  apply_dry(recent(history, params_.dry_last_n));
  if (params_.temperature < kGreedyBelow) return argmax();
  if (params_.mirostat) {
    candidates_.clear();
    for (size_t i = 0; i < logits_.size(); ++i) {
      if (allowed(i)) candidates_.push_back({static_cast<int32_t>(i), logits_[i] / params_.temperature, 0.0f});
    }
    return draw_mirostat();
  }
  keep_top_k();
  softmax_sorted();
  keep_typical();
  keep_top_p();
  keep_min_p();
  exclude_top_choices();
  apply_temperature();
  return draw();
}

void Sampler::gather(std::span<const float> logits) {
  logits_.assign(logits.begin(), logits.end());
  for (const float x : logits_) {
    if (std::isnan(x)) fail(ErrorKind::kInternal, "the logits hold a value that is not a number");
  }
  for (const auto& [token, bias] : params_.logit_bias) {
    if (token < 0 || static_cast<size_t>(token) >= logits_.size()) continue;
    float& logit = logits_[static_cast<size_t>(token)];
    logit += bias;
    // What is not a number has no place in an order, and sorting would run out of its array.
    if (std::isnan(logit)) fail(ErrorKind::kUsage, "the infinite biases of token %d contradict each other", token);
  }
  if (mask_.empty()) return;
  for (size_t i = 0; i < logits_.size(); ++i) {
    if (allowed(i)) return;
  }
  fail(ErrorKind::kUsage, "the mask allows no token");
}

void Sampler::apply_penalties(std::span<const int32_t> history) {
  const bool repetition = params_.repetition_penalty != 1.0f;
  if (!repetition && params_.frequency_penalty == 0.0f && params_.presence_penalty == 0.0f) return;
  std::unordered_map<int32_t, int32_t> counts;
  for (const int32_t token : history) ++counts[token];
  for (const auto& [token, count] : counts) {
    if (token < 0 || static_cast<size_t>(token) >= logits_.size()) continue;
    float& logit = logits_[static_cast<size_t>(token)];
    // The penalty of CTRL (Keskar et al. 2019): a logit may have either sign, and must shrink in both cases.
    logit = logit > 0 ? logit / params_.repetition_penalty : logit * params_.repetition_penalty;
    logit -= static_cast<float>(count) * params_.frequency_penalty + params_.presence_penalty;
  }
}

// "Don't repeat yourself": if the text's end has stood earlier in it, the token that followed there is made less likely,
// the more so the longer the repetition.
void Sampler::apply_dry(std::span<const int32_t> history) {
  if (params_.dry_multiplier == 0.0f || history.size() < 2) return;
  const auto breaks = [&](int32_t token) {
    return std::binary_search(params_.dry_breakers.begin(), params_.dry_breakers.end(), token);
  };
  // dry_match_[i]: how many tokens that end at i equal those that end the history; the Z-function of its reverse.
  const size_t n = history.size();
  dry_match_.assign(n, 0);
  const auto at = [&](size_t back) { return history[n - 1 - back]; };
  size_t left = 0, right = 0;  // the match reaching furthest back, [left, right) counted from the end
  size_t limit = 0;            // no repetition reaches over a breaker at the history's own end
  while (limit < n && !breaks(at(limit))) ++limit;
  if (limit == 0) return;
  for (size_t i = 1; i < n; ++i) {
    size_t len = i < right ? std::min<size_t>(static_cast<size_t>(dry_match_[n - 1 - (i - left)]), right - i) : 0;
    while (i + len < n && at(len) == at(i + len)) ++len;
    dry_match_[n - 1 - i] = static_cast<int32_t>(len);
    if (i + len > right) left = i, right = i + len;
  }
  std::unordered_map<int32_t, int32_t> longest;  // by the token that followed
  for (size_t i = 0; i + 1 < n; ++i) {
    const int32_t len = std::min(dry_match_[i], static_cast<int32_t>(limit));
    if (len >= params_.dry_allowed_length && len > 0) {
      int32_t& best = longest[history[i + 1]];
      best = std::max(best, len);
    }
  }
  for (const auto& [token, len] : longest) {
    if (token < 0 || static_cast<size_t>(token) >= logits_.size() || breaks(token)) continue;
    // Beyond this exponent the penalty is infinite for all purposes, and the power must stay finite.
    const float exponent = std::min(static_cast<float>(len - params_.dry_allowed_length), 60.0f);
    logits_[static_cast<size_t>(token)] -= params_.dry_multiplier * std::pow(params_.dry_base, exponent);
  }
}

int32_t Sampler::argmax() const {
  if (mask_.empty()) return static_cast<int32_t>(std::max_element(logits_.begin(), logits_.end()) - logits_.begin());
  size_t best = logits_.size();
  for (size_t i = 0; i < logits_.size(); ++i) {
    if (allowed(i) && (best == logits_.size() || logits_[i] > logits_[best])) best = i;
  }
  return static_cast<int32_t>(best);
}

// Only the likeliest k are ever made candidates: sorting 128k entries would cost more than all the rest.
void Sampler::keep_top_k() {
  const size_t n = logits_.size();
  const size_t k = params_.top_k == 0 ? n : std::min<size_t>(n, static_cast<size_t>(params_.top_k));
  candidates_.clear();
  candidates_.reserve(n);
  if (k == n) {
    for (size_t i = 0; i < n; ++i) {
      if (allowed(i)) candidates_.push_back({static_cast<int32_t>(i), logits_[i], 0.0f});
    }
    return;
  }
  // A pass with a threshold that rises whenever a heap of k is full: most entries are one comparison.
  const auto less_likely = [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
  };
  for (size_t i = 0; i < n; ++i) {
    if (!allowed(i) || (candidates_.size() == k && logits_[i] <= candidates_.front().logit)) continue;
    if (candidates_.size() == k) {
      std::pop_heap(candidates_.begin(), candidates_.end(), less_likely);
      candidates_.pop_back();
    }
    candidates_.push_back({static_cast<int32_t>(i), logits_[i], 0.0f});
    std::push_heap(candidates_.begin(), candidates_.end(), less_likely);
  }
}

void Sampler::softmax_sorted() {
  // Ties by token, so that the result does not depend on how a library sorts.
  std::sort(candidates_.begin(), candidates_.end(), [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
  });
  const float top = candidates_.front().logit;
  double sum = 0.0;
  for (Candidate& c : candidates_) {
    // All-infinite logits: the likeliest ones share what there is.
    c.p = c.logit == top ? 1.0f : std::exp(c.logit - top);
    sum += static_cast<double>(c.p);
  }
  for (Candidate& c : candidates_) c.p = static_cast<float>(static_cast<double>(c.p) / sum);
}

// Keeps the tokens whose surprise is nearest the expected one, up to probability typical_p.
void Sampler::keep_typical() {
  if (params_.typical_p >= 1.0f) return;
  double entropy = 0.0;
  for (const Candidate& c : candidates_) {
    if (c.p > 0) entropy -= static_cast<double>(c.p) * std::log(static_cast<double>(c.p));
  }
  const auto oddity = [&](const Candidate& c) {
    return c.p > 0 ? std::fabs(-std::log(static_cast<double>(c.p)) - entropy) : std::numeric_limits<double>::max();
  };
  std::stable_sort(candidates_.begin(), candidates_.end(),
                   [&](const Candidate& a, const Candidate& b) { return oddity(a) < oddity(b); });
  double sum = 0.0;
  size_t keep = 0;
  while (keep < candidates_.size() && sum < static_cast<double>(params_.typical_p)) {
    sum += static_cast<double>(candidates_[keep++].p);
  }
  candidates_.resize(std::max<size_t>(keep, 1));
  softmax_sorted();
}

void Sampler::keep_top_p() {
  if (params_.top_p >= 1.0f) return;
  double sum = 0.0;
  size_t keep = 0;
  while (keep < candidates_.size() && (keep == 0 || sum < static_cast<double>(params_.top_p))) {
    sum += static_cast<double>(candidates_[keep++].p);
  }
  candidates_.resize(keep);
}

void Sampler::keep_min_p() {
  if (params_.min_p <= 0.0f) return;
  const float least = candidates_.front().p * params_.min_p;
  size_t keep = 1;
  while (keep < candidates_.size() && candidates_[keep].p >= least) ++keep;
  candidates_.resize(keep);
}

// "Exclude top choices": of all the likely tokens, only the least likely stays.
void Sampler::exclude_top_choices() {
  if (params_.xtc_probability <= 0.0f || params_.xtc_threshold > 0.5f || candidates_.size() < 2) return;
  if (rng_.uniform() >= static_cast<double>(params_.xtc_probability)) return;
  double sum = 0.0;
  for (const Candidate& c : candidates_) sum += static_cast<double>(c.p);
  size_t likely = 0;
  while (likely < candidates_.size() &&
         static_cast<double>(candidates_[likely].p) / sum >= static_cast<double>(params_.xtc_threshold)) {
    ++likely;
  }
  if (likely >= 2) candidates_.erase(candidates_.begin(), candidates_.begin() + static_cast<ptrdiff_t>(likely - 1));
}

void Sampler::apply_temperature() {
  for (Candidate& c : candidates_) c.logit /= params_.temperature;
  softmax_sorted();
}

int32_t Sampler::draw() {
  double left = rng_.uniform();
  int32_t last = candidates_.front().token;  // roundings may leave a little: it never goes to what has no probability
  for (const Candidate& c : candidates_) {
    left -= static_cast<double>(c.p);
    if (left < 0) return c.token;
    if (c.p > 0) last = c.token;
  }
  return last;
}

int32_t Sampler::draw_mirostat() {
  softmax_sorted();
  size_t keep = 0;
  while (keep < candidates_.size() && -std::log2(candidates_[keep].p) <= mirostat_mu_) ++keep;
  candidates_.resize(std::max<size_t>(keep, 1));
  softmax_sorted();
  const int32_t token = draw();
  for (const Candidate& c : candidates_) {
    if (c.token == token) mirostat_mu_ -= params_.mirostat_eta * (-std::log2(c.p) - params_.mirostat_tau);
  }
  return token;
}

}  // namespace pl

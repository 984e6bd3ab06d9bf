// The sampler: each stage by what it must keep, the draw by its frequencies, the random stream by its seed.
#include "../src/sampler.h"
#include "../src/logprobs.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <set>
#include <vector>

#include "check.h"

namespace {

using pl::ErrorKind;
using pl::Sampler;
using pl::SamplerParams;

const std::vector<float> kLogits = {1.0f, 3.0f, 2.0f, 0.0f, -1.0f, 2.5f, -8.0f, 1.5f};

SamplerParams plain() {
  SamplerParams p;
  p.temperature = 1.0f, p.top_k = 0, p.top_p = 1.0f, p.seed = 1;
  return p;
}

// Which tokens come in 4000 draws, and how often.
std::map<int32_t, int> drawn(const SamplerParams& p, const std::vector<float>& logits, const std::vector<int32_t>& history = {}) {
  Sampler sampler(p);
  std::map<int32_t, int> counts;
  for (int i = 0; i < 4000; ++i) ++counts[sampler.sample(logits, history)];
  return counts;
}

std::set<int32_t> tokens(const SamplerParams& p, const std::vector<float>& logits, const std::vector<int32_t>& history = {}) {
  std::set<int32_t> out;
  for (const auto& [token, count] : drawn(p, logits, history)) out.insert(token);
  return out;
}

void test_frequencies() {
  const auto counts = drawn(plain(), kLogits);
  double sum = 0;
  for (const float x : kLogits) sum += std::exp(static_cast<double>(x));
  for (size_t i = 0; i < kLogits.size(); ++i) {
    const double p = std::exp(static_cast<double>(kLogits[i])) / sum, n = 4000;
    const auto found = counts.find(static_cast<int32_t>(i));
    const double seen = found == counts.end() ? 0 : found->second;
    CHECK(std::fabs(seen - n * p) < 5 * std::sqrt(n * p * (1 - p)) + 1);  // five standard deviations
  }
}

void test_greedy() {
  SamplerParams p = plain();
  p.temperature = 0;
  CHECK(tokens(p, kLogits) == (std::set<int32_t>{1}));
  CHECK(tokens(p, std::vector<float>(5, -3.0f)) == (std::set<int32_t>{0}));  // of equals the first
}

void test_truncation() {
  SamplerParams p = plain();
  p.top_k = 3;
  CHECK(tokens(p, kLogits) == (std::set<int32_t>{1, 2, 5}));
  p.top_k = 1;
  CHECK(tokens(p, kLogits) == (std::set<int32_t>{1}));
  p = plain(), p.top_p = 0.5f;  // 1 alone has 0.43 of the probability
  CHECK(tokens(p, kLogits) == (std::set<int32_t>{1, 5}));
  p.top_p = 0.0f;
  CHECK(tokens(p, kLogits) == (std::set<int32_t>{1}));
  p = plain(), p.min_p = 0.3f;  // exp(2.5 - 3) is 0.61, exp(2 - 3) is 0.37, exp(1.5 - 3) is 0.22
  CHECK(tokens(p, kLogits) == (std::set<int32_t>{1, 2, 5}));
  // Of nine equal tokens and one that has half of the probability, the equal ones are nearer the expected surprise.
  std::vector<float> peaked(10, 0.0f);
  peaked[0] = std::log(9.0f);
  p = plain(), p.typical_p = 0.1f;
  CHECK(tokens(p, peaked).size() < 10);
  p = plain(), p.xtc_probability = 1.0f, p.xtc_threshold = 0.15f;  // 1, 5 and 2 are above it: only 2 stays of them
  const std::set<int32_t> kept = tokens(p, kLogits);
  CHECK(!kept.count(1) && !kept.count(5) && kept.count(2) && kept.count(7));
}

// Each stage sees what those before it left, and the temperature comes last of those that truncate.
void test_the_order_of_stages() {
  SamplerParams p = plain();
  p.temperature = 50.0f, p.min_p = 0.3f;  // hot logits would all be within min_p of each other
  CHECK(tokens(p, kLogits) == (std::set<int32_t>{1, 2, 5}));
  p.min_p = 0.0f, p.top_p = 0.5f;
  CHECK(tokens(p, kLogits) == (std::set<int32_t>{1, 5}));
  p = plain(), p.top_k = 2, p.top_p = 0.6f;  // of all, 1 has 0.43; of the two that top-k leaves, 0.62: so it is alone
  CHECK(tokens(p, kLogits) == (std::set<int32_t>{1}));
  p = plain(), p.top_k = 1, p.xtc_probability = 1.0f, p.xtc_threshold = 0.15f;  // there is nothing left to exclude
  CHECK(tokens(p, kLogits) == (std::set<int32_t>{1}));
  p = plain(), p.top_k = 1, p.repetition_penalty = 2.0f;  // penalties come first: 1 is not at the top any more
  CHECK(tokens(p, kLogits, {1}) == (std::set<int32_t>{5}));
  p = plain(), p.top_k = 1, p.logit_bias = {{0, 10.0f}};
  CHECK(tokens(p, kLogits) == (std::set<int32_t>{0}));
}

void test_ties_at_the_edge_of_top_k() {
  SamplerParams p = plain();
  p.top_k = 2;
  CHECK(tokens(p, {1, 2, 2, 2, 1}) == (std::set<int32_t>{1, 2}));  // of equals the first
}

void test_penalties() {
  SamplerParams p = plain();
  p.temperature = 0;
  p.repetition_penalty = 2.0f;
  CHECK_EQ(*tokens(p, {3.0f, 2.0f}, {0}).begin(), 1);
  CHECK_EQ(*tokens(p, {-1.0f, -1.5f}, {0}).begin(), 1);  // a negative logit shrinks too
  p.penalty_last_n = 1;
  CHECK_EQ(*tokens(p, {3.0f, 2.0f}, {0, 1}).begin(), 0);  // only the last one counts
  p.penalty_last_n = 0;
  CHECK_EQ(*tokens(p, {3.0f, 2.0f}, {0}).begin(), 0);
  p = plain(), p.temperature = 0, p.frequency_penalty = 0.4f;
  CHECK_EQ(*tokens(p, {3.0f, 2.0f}, {0, 0}).begin(), 0);
  CHECK_EQ(*tokens(p, {3.0f, 2.0f}, {0, 0, 0}).begin(), 1);
  p.frequency_penalty = 0, p.presence_penalty = 1.1f;
  CHECK_EQ(*tokens(p, {3.0f, 2.0f}, {0}).begin(), 1);
  CHECK_EQ(*tokens(p, {3.0f, 2.0f}, {-5, 99}).begin(), 0);  // a history of nonsense changes nothing
}

void test_dry() {
  SamplerParams p = plain();
  p.temperature = 0, p.dry_multiplier = 1.0f;
  // "1 2 3" stood before and "4" followed; now "1 2 3" stands at the end: 4 loses 1.75^(3 - 2).
  const std::vector<int32_t> history = {1, 2, 3, 4, 0, 1, 2, 3};
  std::vector<float> logits = {0, 0, 0, 0, 1.7f, 0.1f};
  CHECK_EQ(*tokens(p, logits, history).begin(), 5);
  logits[4] = 1.9f;
  CHECK_EQ(*tokens(p, logits, history).begin(), 4);
  p.dry_breakers = {2};  // the repetition now begins behind 2 and is too short
  logits[4] = 0.2f;
  CHECK_EQ(*tokens(p, logits, history).begin(), 4);
  // Against the definition, on random histories of two tokens.
  uint64_t state = 7;
  for (int round = 0; round < 200; ++round) {
    std::vector<int32_t> h;
    for (int i = 0; i < 24; ++i) h.push_back(static_cast<int32_t>((state = state * 6364136223846793005u + 1442695040888963407u) >> 63));
    std::map<int32_t, int> longest;
    for (size_t i = 0; i + 1 < h.size(); ++i) {
      int len = 0;
      while (static_cast<size_t>(len) <= i && h[i - static_cast<size_t>(len)] == h[h.size() - 1 - static_cast<size_t>(len)]) ++len;
      longest[h[i + 1]] = std::max(longest[h[i + 1]], len);
    }
    SamplerParams q = plain();
    q.temperature = 0, q.dry_multiplier = 0.5f;
    const auto expected = [&](int32_t t) { return longest[t] >= 2 ? -0.5 * std::pow(1.75, longest[t] - 2) : 0.0; };
    const int32_t best = expected(1) > expected(0) ? 1 : 0;
    CHECK_EQ(*tokens(q, {0.0f, 0.0f}, h).begin(), best);
  }
}

void test_mirostat() {
  SamplerParams p = plain();
  p.mirostat = true, p.mirostat_tau = 0.0f;
  CHECK(tokens(p, kLogits).size() <= 3);  // no surprise is wanted
  p.mirostat_tau = 50.0f;
  CHECK(tokens(p, kLogits).size() >= 7);
}

void test_bias() {
  SamplerParams p = plain();
  p.temperature = 0, p.logit_bias = {{1, -std::numeric_limits<float>::infinity()}, {99, 5.0f}, {-1, 5.0f}};
  CHECK_EQ(*tokens(p, kLogits).begin(), 5);
}

void test_seeds() {
  SamplerParams p = plain();
  Sampler one(p), same(p);
  p.seed = 2;
  Sampler other(p);
  std::vector<int32_t> a, b, c;
  for (int i = 0; i < 64; ++i) {
    a.push_back(one.sample(kLogits, {})), b.push_back(same.sample(kLogits, {})), c.push_back(other.sample(kLogits, {}));
  }
  CHECK(a == b);
  CHECK(a != c);
}

// The mask that allows these tokens.
std::vector<uint32_t> mask_of(const std::set<int32_t>& allowed) {
  std::vector<uint32_t> mask(2);
  for (const int32_t t : allowed) mask[static_cast<size_t>(t) / 32] |= 1u << (t % 32);
  return mask;
}

// Whatever the stages keep, nothing else is drawn, and of what is allowed each stage keeps what it keeps of it alone.
void test_mask() {
  const float inf = std::numeric_limits<float>::infinity();
  std::vector<SamplerParams> each(12, plain());
  each[1].temperature = 0, each[2].top_k = 1, each[3].top_k = 3, each[4].top_p = 0.3f, each[5].min_p = 0.5f;
  each[6].typical_p = 0.2f, each[7].mirostat = true, each[8].temperature = 100.0f;
  each[9].xtc_probability = 1.0f, each[9].xtc_threshold = 0.0f;  // a threshold that forbidden tokens would reach too
  each[10].repetition_penalty = 2.0f, each[10].dry_multiplier = 1.0f, each[10].frequency_penalty = 1.0f;
  for (const auto& [token, bias] : std::map<int32_t, float>{{0, inf}, {3, -inf}, {6, -inf}}) {
    each[11].logit_bias.emplace_back(token, bias);  // the forbidden one is wanted, those that may come are not
  }
  const std::vector<int32_t> history = {3, 6, 3, 6, 3, 6};
  for (const std::set<int32_t>& allowed : {std::set<int32_t>{3, 6}, std::set<int32_t>{6}, std::set<int32_t>{1, 4, 7}}) {
    const std::vector<uint32_t> mask = mask_of(allowed);
    for (const SamplerParams& p : each) {
      Sampler sampler(p);
      for (int i = 0; i < 300; ++i) {
        sampler.allow(mask);
        CHECK(allowed.count(sampler.sample(kLogits, history)) == 1);
      }
    }
  }
  // As often as without the others.
  Sampler sampler(plain());
  int ones = 0;
  for (int i = 0; i < 4000; ++i) {
    sampler.allow(mask_of({1, 5}));
    ones += sampler.sample(kLogits, {}) == 1;
  }
  const double p = 1 / (1 + std::exp(-0.5));
  CHECK(std::fabs(ones - 4000 * p) < 5 * std::sqrt(4000 * p * (1 - p)));
  int free_ones = 0;  // a mask is for one draw
  for (int i = 0; i < 100; ++i) free_ones += sampler.sample(kLogits, {}) == 1;
  CHECK(free_ones > 0);
  sampler.allow(mask_of({}));
  CHECK_THROWS(ErrorKind::kUsage, sampler.sample(kLogits, {}));
  sampler.allow(mask_of({40}));  // there are eight tokens
  CHECK_THROWS(ErrorKind::kUsage, sampler.sample(kLogits, {}));
  CHECK(sampler.sample(kLogits, {}) >= 0);  // … also one that failed
}

void test_log_probabilities() {
  double sum = 0;
  for (const float x : kLogits) sum += std::exp(static_cast<double>(x));
  std::vector<int32_t> ids = {6, 1, 0, 0, 0};
  std::vector<float> out(5);
  pl::log_probabilities(kLogits, ids, out, 2);
  CHECK(ids == (std::vector<int32_t>{6, 1, 1, 5, 2}));
  for (size_t i = 0; i < ids.size(); ++i) {
    CHECK(std::fabs(static_cast<double>(out[i]) - (static_cast<double>(kLogits[static_cast<size_t>(ids[i])]) - std::log(sum))) < 1e-6);
  }
  std::vector<int32_t> ties(3);
  std::vector<float> equal(3);
  pl::log_probabilities(std::vector<float>(4, 1000.0f), ties, equal, 0);
  CHECK(ties == (std::vector<int32_t>{0, 1, 2}));
  CHECK(std::fabs(static_cast<double>(equal[0]) + std::log(4.0)) < 1e-6);
  const float inf = std::numeric_limits<float>::infinity();
  ties = {0, 1, 2};
  pl::log_probabilities(std::vector<float>{0.0f, -inf, 0.0f}, ties, equal, 3);
  CHECK(equal[1] == -inf);
  CHECK_THROWS(ErrorKind::kUsage, pl::log_probabilities(std::vector<float>(2), ties, equal, 3));
  CHECK_THROWS(ErrorKind::kUsage, pl::log_probabilities(std::vector<float>(2), ties, equal, 0));
  ties = {0, 0, 0};
  CHECK_THROWS(ErrorKind::kInternal, pl::log_probabilities(std::vector<float>{std::nanf("")}, ties, equal, 3));
}

void test_extremes() {
  const float inf = std::numeric_limits<float>::infinity();
  CHECK(tokens(plain(), {-inf, -inf, 0.0f}) == (std::set<int32_t>{2}));
  CHECK(tokens(plain(), {inf, 0.0f}) == (std::set<int32_t>{0}));
  CHECK_EQ(tokens(plain(), {-inf, -inf}).size(), size_t{2});
  SamplerParams p = plain();
  CHECK_THROWS(ErrorKind::kInternal, Sampler(p).sample(std::vector<float>{0.0f, std::nanf("")}, {}));
  CHECK_THROWS(ErrorKind::kUsage, Sampler(p).sample(std::vector<float>{}, {}));
  for (float SamplerParams::*member : {&SamplerParams::temperature, &SamplerParams::top_p, &SamplerParams::min_p,
                                       &SamplerParams::typical_p, &SamplerParams::repetition_penalty,
                                       &SamplerParams::dry_base, &SamplerParams::mirostat_tau}) {
    for (const float bad : {-1e9f, std::nanf(""), inf}) {
      SamplerParams q = plain();
      q.*member = bad;
      CHECK_THROWS(ErrorKind::kUsage, Sampler{q});
    }
  }
  p.top_k = -1;
  CHECK_THROWS(ErrorKind::kUsage, Sampler{p});
}

}  // namespace

int main() {
  test_frequencies();
  test_greedy();
  test_truncation();
  test_the_order_of_stages();
  test_ties_at_the_edge_of_top_k();
  test_penalties();
  test_dry();
  test_mirostat();
  test_bias();
  test_seeds();
  test_mask();
  test_log_probabilities();
  test_extremes();
  return check_failures();
}

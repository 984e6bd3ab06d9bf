// The C API under eight threads (R7) and under arguments that nobody means (R6). It is linked to the shared library alone,
// as its users are, and is what the sanitizers run: `abi_test MODEL.gguf [rounds]`.
#include <atomic>
#include <climits>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "../include/pocketllama.h"
#include "check.h"

namespace {

constexpr int kThreads = 8;
constexpr int kContext = 32;
const char kText[] = "Once upon a time there was a king";

// check.h counts without a lock: threads note their findings here.
std::atomic<int> thread_failures{0};
#define THREAD_CHECK(expr) \
  ((expr) ? (void)0        \
          : (void)(++thread_failures, std::fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #expr, pl_last_error())))

pl_llm* load(const char* path, bool vocab_only, int n_seqs = 1) {
  pl_options options{};
  options.size = sizeof options;
  options.context_length = kContext, options.n_seqs = n_seqs, options.threads = 1, options.vocab_only = vocab_only;
  return pl_load(path, &options);
}

std::vector<int32_t> tokens_of(pl_llm* llm, const char* text) {
  std::vector<int32_t> out(256);
  const int64_t n = pl_tokenize(llm, text, static_cast<int64_t>(std::strlen(text)), PL_BOS, out.data(), 256);
  out.resize(n < 0 ? 0 : static_cast<size_t>(n));
  return out;
}

std::vector<float> scores_of(pl_llm* llm, const std::vector<int32_t>& tokens) {
  std::vector<float> out(tokens.size() * static_cast<size_t>(pl_vocab_size(llm)));
  const int32_t rc = pl_score(llm, tokens.data(), static_cast<int64_t>(tokens.size()), out.data(),
                              static_cast<int64_t>(out.size()), nullptr);
  return rc == PL_OK ? out : std::vector<float>();
}

struct Shared {
  const char* path;
  pl_llm* model;       // sequence 0 to score in, and one for each thread
  pl_llm* vocabulary;
  pl_sampler* sampler;
  std::vector<int32_t> tokens;
  std::vector<float> scores;
  std::atomic<pl_llm*> victim;  // freed and replaced while others use it
  std::atomic<pl_sampler*> victim_sampler;
  int32_t abort = 0;  // read by the library while one thread writes it
};

bool ok_or(int64_t rc, int32_t error) { return rc >= 0 || rc == error; }

void use_shared_model(Shared& s, int me, int round) {
  std::vector<pl_item> items;
  for (int i = 0; i < 3; ++i) items.push_back({s.tokens[static_cast<size_t>(i)], me + 1, i, i == 2});
  const int32_t rc = pl_eval(s.model, items.data(), 3, &s.abort);
  THREAD_CHECK(ok_or(rc, PL_CANCELLED));
  std::vector<float> row(static_cast<size_t>(pl_vocab_size(s.model)));
  THREAD_CHECK(pl_logits(s.model, row.data(), static_cast<int64_t>(row.size())) >= 0);
  THREAD_CHECK(pl_hidden(s.model, row.data(), static_cast<int64_t>(row.size())) >= 0);
  // Another thread's cancelled evaluation may have left nothing to sample from.
  THREAD_CHECK(ok_or(pl_sample(s.model, s.sampler, -1, s.tokens.data(), 3), PL_USAGE));
  THREAD_CHECK(pl_cached(s.model, me + 1) <= 3);
  THREAD_CHECK(ok_or(pl_embed(s.model, s.tokens.data(), 2, me % 2, row.data(), static_cast<int64_t>(row.size()), &s.abort),
                     PL_CANCELLED));
  THREAD_CHECK(ok_or(pl_shift(s.model, me + 1, 1, 1), PL_USAGE));
  THREAD_CHECK(pl_truncate(s.model, me + 1, round % 3) == PL_OK);
  if (me == 1) THREAD_CHECK(pl_set_threads(s.model, 1 + round % 2) == PL_OK);
  if (me == 2) __atomic_store_n(&s.abort, round % 2, __ATOMIC_RELAXED);
}

void use_victims(Shared& s, int me) {
  if (me == 0) {
    pl_llm* const fresh = load(s.path, false);
    THREAD_CHECK(fresh != nullptr);
    pl_llm* const old = s.victim.exchange(fresh);
    pl_free(old);
    pl_free(old);
    THREAD_CHECK(pl_vocab_size(old) == PL_USAGE);
    pl_sampling params;
    pl_sampling_defaults(&params);
    pl_sampler_free(s.victim_sampler.exchange(pl_sampler_new(&params)));
    return;
  }
  pl_llm* const victim = s.victim;
  const pl_item item{s.tokens[0], 0, 0, 1};
  THREAD_CHECK(ok_or(pl_eval(victim, &item, 1, nullptr), PL_USAGE));
  THREAD_CHECK(ok_or(pl_sample(victim, s.victim_sampler, -1, nullptr, 0), PL_USAGE));
  THREAD_CHECK(ok_or(pl_tokenize(victim, kText, 5, 0, nullptr, 0), PL_USAGE));
}

void use_old_abi(Shared& s) {
  int out[sizeof kText];
  THREAD_CHECK(ctransformers_llm_tokenize(s.model, kText, true, out) == static_cast<int>(s.tokens.size()));
  THREAD_CHECK(*ctransformers_llm_detokenize(s.vocabulary, s.tokens[1]) != '\0');
  THREAD_CHECK(std::string(ctransformers_llm_architecture(s.model)) == "llama");
  THREAD_CHECK(!ctransformers_llm_is_eos_token(s.model, s.tokens[1]));
}

void one_thread(Shared& s, int me, int rounds) {
  for (int round = 0; round < rounds; ++round) {
    THREAD_CHECK(tokens_of(s.vocabulary, kText) == s.tokens);
    char text[64];
    THREAD_CHECK(pl_detokenize(s.model, s.tokens.data(), static_cast<int64_t>(s.tokens.size()), 0, text, sizeof text) ==
                 static_cast<int64_t>(std::strlen(kText)));
    use_shared_model(s, me, round);
    use_victims(s, me);
    use_old_abi(s);
    // What is computed in company is what is computed alone: on a handle of one's own, and on one that all use.
    pl_llm* const own = load(s.path, false);
    THREAD_CHECK(scores_of(own, s.tokens) == s.scores);
    pl_free(own);
    if (me >= 4) THREAD_CHECK(scores_of(s.model, s.tokens) == s.scores);
  }
}

void test_threads(const char* path, int rounds) {
  Shared s{};
  s.path = path;
  s.model = load(path, false, kThreads + 1), s.vocabulary = load(path, true), s.victim = load(path, false);
  CHECK(s.model && s.vocabulary && s.victim.load());
  if (!s.model || !s.vocabulary) return;
  pl_sampling params;
  pl_sampling_defaults(&params);
  s.sampler = pl_sampler_new(&params), s.victim_sampler = pl_sampler_new(&params);
  s.tokens = tokens_of(s.model, kText);
  s.scores = scores_of(s.model, s.tokens);
  CHECK(s.tokens.size() > 4 && !s.scores.empty());
  std::vector<std::thread> threads;
  for (int me = 0; me < kThreads; ++me) threads.emplace_back([&s, me, rounds] { one_thread(s, me, rounds); });
  for (std::thread& t : threads) t.join();
  CHECK_EQ(thread_failures.load(), 0);
  pl_sampler_free(s.sampler), pl_sampler_free(s.victim_sampler);
  pl_free(s.model), pl_free(s.vocabulary), pl_free(s.victim);
}

// A call that must fail, and say why.
void refused(int64_t rc, const char* what) {
  if (rc >= 0) check_failed(__FILE__, __LINE__, std::string(what) + " was accepted");
  if (*pl_last_error() == '\0') check_failed(__FILE__, __LINE__, std::string(what) + " failed without words");
}

// Every function with a handle that is none, a length that is none, and pointers that are NULL.
void test_arguments(const char* path) {
  pl_llm* const model = load(path, false);
  pl_llm* const vocabulary = load(path, true);
  pl_llm* const freed = load(path, true);
  pl_free(freed);
  pl_sampling params;
  pl_sampling_defaults(&params);
  pl_sampler* const sampler = pl_sampler_new(&params);
  const std::vector<int32_t> ids(kContext + 1, 5);
  std::vector<float> floats(static_cast<size_t>(pl_vocab_size(model)) * kContext);
  const auto room = static_cast<int64_t>(floats.size());
  char text[256];
  int old_out[256];
  std::vector<pl_item> items(1, pl_item{5, 0, 0, 1});

  pl_llm* const no_models[] = {nullptr, freed, reinterpret_cast<pl_llm*>(-1), reinterpret_cast<pl_llm*>(sampler)};
  for (pl_llm* const none : no_models) {
    refused(pl_vocab_size(none), "a vocabulary of nothing"), refused(pl_bos(none), "a bos of nothing");
    refused(pl_tokenize(none, kText, 3, 0, nullptr, 0), "tokenizing by nothing");
    refused(pl_piece(none, 5, 0, text, sizeof text), "a piece of nothing");
    refused(pl_detokenize(none, ids.data(), 1, 0, text, sizeof text), "detokenizing by nothing");
    refused(pl_eval(none, items.data(), 1, nullptr), "evaluating by nothing");
    refused(pl_score(none, ids.data(), 1, floats.data(), room, nullptr), "scoring by nothing");
    refused(pl_embed(none, ids.data(), 1, PL_MEAN, floats.data(), room, nullptr), "embedding by nothing");
    refused(pl_sample(none, sampler, -1, nullptr, 0), "sampling from nothing");
    refused(pl_shift(none, 0, 0, 0), "the cache of nothing");
    refused(pl_set_threads(none, 1), "the threads of nothing"), refused(pl_truncate(none, 0, 0), "the cache of nothing");
    CHECK(!ctransformers_llm_batch_eval(none, ids.data(), 1, 0, 8, 1));
    CHECK(ctransformers_llm_logits_data(none) == nullptr);
    CHECK_EQ(ctransformers_llm_sample(none, ids.data(), 1, 40, 0.9f, 1.0f, 1.0f, 1), -1);
    ctransformers_llm_reset(none), ctransformers_llm_delete(none);
  }
  for (pl_llm* const llm : {model, vocabulary}) {
    for (const int32_t n : {INT_MIN, -1, 0, INT_MAX}) {
      refused(pl_eval(llm, items.data(), n, nullptr), "a wrong number of items");
      refused(pl_score(llm, ids.data(), n, floats.data(), n ? room : 0, nullptr), "a wrong number of tokens");
      refused(pl_embed(llm, ids.data(), n, PL_MEAN, floats.data(), room, nullptr), "a wrong number of tokens");
      refused(pl_embed(llm, ids.data(), 1, n ? n : 2, floats.data(), room, nullptr), "a wrong pooling");
      refused(pl_embed(llm, ids.data(), 1, PL_LAST, floats.data(), n > 0 ? 3 : n, nullptr), "a wrong capacity");
      refused(pl_piece(llm, n ? n : -7, 0, text, sizeof text), "a wrong token");
      if (n) refused(pl_tokenize(llm, kText, n, 0, nullptr, 0), "a wrong length");
      if (n) refused(pl_detokenize(llm, ids.data(), n, 0, text, sizeof text), "a wrong number of ids");
      refused(pl_sample(llm, sampler, n, ids.data(), n ? n : -1), "a wrong row and history");
      if (n) refused(pl_cached(llm, n), "a wrong sequence");
      refused(pl_truncate(llm, n ? n : 7, 0), "a wrong sequence");
      refused(pl_shift(llm, n ? n : 7, 0, 0), "a wrong sequence");
      refused(pl_shift(llm, 0, n ? n : 1, n ? 0 : INT_MAX), "tokens that are not there");
      refused(pl_shift(llm, 0, 0, n ? n : 2), "more than there is");
      if (n != 0) CHECK(!ctransformers_llm_batch_eval(llm, ids.data(), n, 0, 8, 1));
      CHECK(!ctransformers_llm_batch_eval(llm, ids.data(), 1, n ? n : 1, 8, 1));
      CHECK(n > 0 || !ctransformers_llm_batch_eval(llm, ids.data(), 1, 0, n, 1));
      pl_item item{n ? n : -1, 0, 0, 1};
      refused(pl_eval(llm, &item, 1, nullptr), "a wrong token");
      item = {5, n ? n : -1, 0, 1};
      refused(pl_eval(llm, &item, 1, nullptr), "a wrong sequence");
      item = {5, 0, n ? n : 1, 1};
      refused(pl_eval(llm, &item, 1, nullptr), "a wrong position");
    }
    refused(pl_set_threads(vocabulary, INT_MAX), "that many threads");
    CHECK_EQ(ctransformers_llm_tokenize(llm, nullptr, true, old_out), 0);
  }
  for (const float x : {std::nanf(""), INFINITY, -1.0f}) {
    for (float pl_sampling::*member : {&pl_sampling::temperature, &pl_sampling::top_p, &pl_sampling::repetition_penalty}) {
      pl_sampling_defaults(&params);
      params.*member = x;
      CHECK(pl_sampler_new(&params) == nullptr && *pl_last_error() != '\0');
    }
    CHECK(ctransformers_llm_sample(model, ids.data(), 1, 40, x, 1.0f, 1.0f, 1) == -1);
  }
  // An evaluation that failed leaves nothing of the one before it.
  CHECK_EQ(pl_eval(model, items.data(), 1, nullptr), PL_OK);
  refused(pl_eval(model, items.data(), 0, nullptr), "an empty evaluation");
  CHECK_EQ(pl_logits(model, floats.data(), room), 0);
  pl_sampler_free(sampler), pl_free(model), pl_free(vocabulary);
}

}  // namespace

int main(int argc, char** argv) {
  const char* const path = argc > 1 ? argv[1] : std::getenv("POCKETLLAMA_TEST_MODEL");
  if (!path) {
    std::printf("skipped: name a model file\n");
    return 0;
  }
  test_arguments(path);
  test_threads(path, argc > 2 ? std::atoi(argv[2]) : 6);
  return check_failures();
}

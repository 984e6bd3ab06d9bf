// One model with its cache, its threads and its last results: what a handle of the C API stands for.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "activations.h"
#include "forward.h"
#include "tokenizer/tokenizer.h"

namespace pl {

struct EngineOptions {
  int64_t context_length = 0;  // 0: what the model was trained for, up to kDefaultContext
  int64_t n_seqs = 1;
  int threads = 0;  // 0: one for each processor
  Type kv_type = Type::F16;
  bool use_mmap = true;
  bool vocab_only = false;
};

// Bytes: of the files (mapped ones are only as resident as they are used), of the cache, of one evaluation's arrays.
struct EngineMemory {
  uint64_t weights = 0, cache = 0, arrays = 0;
};

// Longer contexts are there for who asks; by default a long-context model's cache would not fit a small machine.
constexpr int64_t kDefaultContext = 4096;

class Engine {
 public:
  Engine(const std::string& path, const EngineOptions& options);

  // Held by whoever calls the functions below, but for tokenizer(), which never changes.
  std::mutex mutex;

  const Tokenizer& tokenizer() const { return *tokenizer_; }
  const std::string& architecture() const { return architecture_; }
  bool has_model() const { return model_ != nullptr; }
  int64_t n_vocab() const;
  int64_t n_ctx() const { return cache_ ? cache_->n_ctx() : 0; }
  const EngineMemory& memory() const { return memory_; }
  int64_t dim() const { return model_ ? model_->config.dim : 0; }

  void set_threads(int threads);

  // Evaluates items; see pl_eval. `abort` may be null.
  void eval(std::span<const Item> items, const int32_t* abort);
  // Evaluates tokens as a new text in sequence 0; out (n, n_vocab) gets the logits behind each.
  void score(std::span<const int32_t> tokens, float* out, const int32_t* abort);

  // Evaluates tokens as a new text in sequence 0; out (dim) gets the mean of the hidden states behind them, or the last.
  void embed(std::span<const int32_t> tokens, bool mean, float* out, const int32_t* abort);

  // Fails if this has no model, or if n items are more than the cache of n_seqs sequences (0: all of them) could hold.
  void expect_room(int64_t n, int64_t n_seqs = 0) const;

  // The results of the last eval, a row for each item that wanted it; none if it failed.
  std::span<float> logits() { return logits_; }
  std::span<const float> hidden() const { return hidden_; }

  int64_t cached(int64_t seq) const;
  void truncate(int64_t seq, int64_t from);
  // Begins to add up what matrices are multiplied by, or forgets it.
  void watch(bool on);
  const ActivationSums* activations() const { return activations_.get(); }  // null while it does not

  // The threads, for what is done with results; for one caller at a time, like all else here.
  ThreadPool& pool() { return *pool_; }

  // See shift.h.
  void shift(int64_t seq, int64_t keep, int64_t discard);
  // Forgets what sequence 0 holds, and the last results: the next text begins with nothing of this one.
  void reset();

 private:
  void check(std::span<const Item> items) const;
  void run_chunk(std::span<const Item> chunk, const int32_t* abort);
  // Takes the memory for what items want, of the chunks alone or also `kept`: fails before anything is computed.
  void make_room(std::span<const Item> items, bool kept);
  // Evaluates items in chunks, and gives the State of each to `use`.
  template <typename Use>
  void run(std::span<const Item> items, const int32_t* abort, const Use& use);
  void forget_results();
  void need_model() const;

  std::unique_ptr<Model> model_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::string architecture_;
  EngineMemory memory_;
  std::unique_ptr<KvCache> cache_;
  std::unique_ptr<State> state_;
  std::unique_ptr<RopeTables> rope_;
  std::unique_ptr<ThreadPool> pool_;
  std::unique_ptr<ActivationSums> activations_;
  std::vector<int64_t> cached_;  // by sequence: positions that hold valid keys and values
  std::vector<float> logits_;    // (wanted, n_vocab)
  std::vector<float> hidden_;    // (wanted, dim), of the items that wanted anything
};

}  // namespace pl

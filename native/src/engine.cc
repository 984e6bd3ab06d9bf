#include "engine.h"

#include <algorithm>
#include <thread>

#include "error.h"
#include "memory.h"
#include "shift.h"
#include "tokenizer/vocab_data.h"

namespace pl {
namespace {

// Tokens evaluated together. More would read the weights less often, and each takes a row in every array of State; from
// here on the weights are no longer what a batch waits for.
constexpr int64_t kMaxBatch = 256;

std::vector<Item> new_text(std::span<const int32_t> tokens, Wants wants) {
  std::vector<Item> items;
  for (size_t i = 0; i < tokens.size(); ++i) items.push_back({tokens[i], 0, static_cast<int32_t>(i), wants});
  return items;
}

int64_t default_context(const Config& c) { return std::min(c.n_ctx_train, kDefaultContext); }

}  // namespace

Engine::Engine(const std::string& path, const EngineOptions& options) {
  if (options.context_length < 0 || options.n_seqs < 1 || options.n_seqs > 4096) {
    fail(ErrorKind::kUsage, "the context length must not be negative, and sequences from 1 to 4096");
  }
  if (options.vocab_only) {
    const Gguf file = Gguf::open(path, options.use_mmap);
    tokenizer_ = std::make_unique<Tokenizer>(read_vocab(file));
    architecture_ = std::string(file.str("general.architecture").value_or(""));
    return;
  }
  model_ = Model::load(path, options.use_mmap);
  const Config& c = model_->config;
  architecture_ = c.architecture;
  VocabData vocabulary = read_vocab(model_->file);
  vocabulary.fill_up(static_cast<size_t>(c.n_vocab));
  tokenizer_ = std::make_unique<Tokenizer>(vocabulary);
  const int64_t n_ctx = options.context_length > 0 ? options.context_length : default_context(c);
  if (model_->weights.position_embd && n_ctx > c.n_ctx_train) {
    fail(ErrorKind::kUsage, "this model knows %lld positions, a context of %lld is not possible",
         static_cast<long long>(c.n_ctx_train), static_cast<long long>(n_ctx));
  }
  const int64_t max_batch = std::min(kMaxBatch, n_ctx * options.n_seqs);
  memory_.weights = model_->file.total_bytes();
  memory_.cache = KvCache::bytes_needed(c, options.n_seqs, n_ctx, options.kv_type);
  memory_.arrays = State::bytes_needed(c, max_batch);
  expect_memory(memory_.cache + memory_.arrays,
                text("a context of %lld tokens", static_cast<long long>(n_ctx * options.n_seqs)));
  cache_ = std::make_unique<KvCache>(c, options.n_seqs, n_ctx, options.kv_type);
  state_ = std::make_unique<State>(c, max_batch);
  rope_ = std::make_unique<RopeTables>(*model_, n_ctx);
  cached_.assign(static_cast<size_t>(options.n_seqs), 0);
  set_threads(options.threads);
}

int64_t Engine::n_vocab() const { return model_ ? model_->config.n_vocab : tokenizer_->n_tokens(); }

void Engine::need_model() const {
  if (!model_) fail(ErrorKind::kUsage, "this is a vocabulary without a model");
}

void Engine::set_threads(int threads) {
  if (threads < 0 || threads > 1024) fail(ErrorKind::kUsage, "threads must be from 1 to 1024, not %d", threads);
  if (threads == 0) threads = static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1u, 1024u));
  if (!pool_ || pool_->threads() != threads) pool_ = std::make_unique<ThreadPool>(threads);
}

void Engine::check(std::span<const Item> items) const {
  if (items.empty()) fail(ErrorKind::kUsage, "there is nothing to evaluate");
  std::vector<int64_t> next = cached_;
  std::vector<bool> begun(cached_.size(), false);
  for (const Item& item : items) {
    if (item.token < 0 || item.token >= n_vocab()) {
      fail(ErrorKind::kUsage, "token %d is outside the vocabulary of %lld", item.token, static_cast<long long>(n_vocab()));
    }
    if (item.seq < 0 || static_cast<size_t>(item.seq) >= cached_.size()) {
      fail(ErrorKind::kUsage, "sequence %d is not one of %zu", item.seq, cached_.size());
    }
    const auto seq = static_cast<size_t>(item.seq);
    // The first item of a sequence may go back and replace its end; the others follow one another.
    const bool fits = begun[seq] ? item.pos == next[seq] : item.pos >= 0 && item.pos <= next[seq];
    if (!fits) {
      fail(ErrorKind::kUsage, "position %d of sequence %d does not follow on %lld", item.pos, item.seq,
           static_cast<long long>(next[seq]));
    }
    if (item.pos >= cache_->n_ctx()) {
      fail(ErrorKind::kContextOverflow, "position %d does not fit the context of %lld", item.pos,
           static_cast<long long>(cache_->n_ctx()));
    }
    begun[seq] = true;
    next[seq] = item.pos + 1;
  }
}

void Engine::run_chunk(std::span<const Item> chunk, const int32_t* abort) {
  Ops ops(*pool_, kernels(), activations_.get());
  // While a sequence is rewritten it holds no more than what stays valid whatever happens.
  for (const Item& item : chunk) {
    int64_t& n = cached_[static_cast<size_t>(item.seq)];
    n = std::min<int64_t>(n, item.pos);
  }
  model_->page_in.reset();  // the evaluation needs the cores itself, and maps what is left as it comes to it
  forward(*model_, *cache_, *state_, ops, *rope_, chunk, abort);
  for (const Item& item : chunk) cached_[static_cast<size_t>(item.seq)] = item.pos + 1;
}

template <typename Use>
void Engine::run(std::span<const Item> items, const int32_t* abort, const Use& use) {
  need_model();
  forget_results();  // the last results are never mistaken for these
  check(items);
  const auto batch = static_cast<size_t>(state_->max_batch);
  for (size_t at = 0; at < items.size(); at += batch) {
    run_chunk(items.subspan(at, std::min(batch, items.size() - at)), abort);
    use(*state_);
  }
}

void Engine::make_room(std::span<const Item> items, bool kept) {
  forget_results();
  const auto count = [items](auto wanted) {
    return static_cast<size_t>(std::count_if(items.begin(), items.end(), wanted));
  };
  const size_t n_logits = count([](const Item& item) { return item.wants == Wants::kLogits; });
  const size_t n_hidden = count([](const Item& item) { return item.wants != Wants::kNothing; });
  const auto width = static_cast<size_t>(n_vocab()), depth = static_cast<size_t>(dim());
  const auto batch = static_cast<size_t>(state_->max_batch);
  // Those of a chunk, then those of all.
  struct { std::vector<float>* array; size_t floats; } const wanted[] = {
      {&state_->logits, std::min(n_logits, batch) * width}, {&state_->hidden, std::min(n_hidden, batch) * depth},
      {&logits_, kept ? n_logits * width : 0}, {&hidden_, kept ? n_hidden * depth : 0}};
  size_t more = 0;
  for (const auto& [array, floats] : wanted) more += floats > array->capacity() ? floats : 0;
  if (more == 0) return;
  expect_memory(more * sizeof(float), text("the results of %zu tokens", n_hidden));
  for (const auto& [array, floats] : wanted) array->reserve(floats);
}

void Engine::eval(std::span<const Item> items, const int32_t* abort) {
  need_model();
  make_room(items, true);
  try {
    run(items, abort, [this](const State& state) {
      logits_.insert(logits_.end(), state.logits.begin(), state.logits.end());
      hidden_.insert(hidden_.end(), state.hidden.begin(), state.hidden.end());
    });
  } catch (...) {
    forget_results();  // nor are half of these for the whole
    throw;
  }
}

void Engine::score(std::span<const int32_t> tokens, float* out, const int32_t* abort) {
  need_model();
  const std::vector<Item> items = new_text(tokens, Wants::kLogits);
  make_room(items, false);
  run(items, abort,
      [&out](const State& state) { out = std::copy(state.logits.begin(), state.logits.end(), out); });
}

void Engine::embed(std::span<const int32_t> tokens, bool mean, float* out, const int32_t* abort) {
  std::vector<Item> items = new_text(tokens, mean ? Wants::kHidden : Wants::kNothing);
  if (!items.empty()) items.back().wants = Wants::kHidden;
  std::vector<double> sum(static_cast<size_t>(dim()));
  size_t rows = 0;
  run(items, abort, [&](const State& state) {
    for (size_t i = 0; i < state.hidden.size(); ++i) sum[i % sum.size()] += static_cast<double>(state.hidden[i]);
    rows += state.hidden.size() / sum.size();
  });
  for (size_t i = 0; i < sum.size(); ++i) out[i] = static_cast<float>(sum[i] / static_cast<double>(rows));
}

void Engine::expect_room(int64_t n, int64_t n_seqs) const {
  need_model();
  const int64_t room = cache_->n_ctx() * (n_seqs > 0 ? n_seqs : cache_->n_seqs());
  if (n > room) {
    fail(ErrorKind::kContextOverflow, "%lld tokens do not fit the context of %lld", static_cast<long long>(n),
         static_cast<long long>(room));
  }
}

void Engine::watch(bool on) {
  need_model();
  activations_ = on ? std::make_unique<ActivationSums>(model_->file) : nullptr;
}

void Engine::forget_results() { logits_.clear(), hidden_.clear(); }

void Engine::reset() {
  truncate(0, 0);
  forget_results();
}

int64_t Engine::cached(int64_t seq) const {
  need_model();
  if (seq < 0 || static_cast<size_t>(seq) >= cached_.size()) {
    fail(ErrorKind::kUsage, "sequence %lld is not one of %zu", static_cast<long long>(seq), cached_.size());
  }
  return cached_[static_cast<size_t>(seq)];
}

void Engine::truncate(int64_t seq, int64_t from) {
  const int64_t n = cached(seq);
  if (from < 0) fail(ErrorKind::kUsage, "position %lld is negative", static_cast<long long>(from));
  cached_[static_cast<size_t>(seq)] = std::min(n, from);
}

void Engine::shift(int64_t seq, int64_t keep, int64_t discard) {
  const int64_t n = cached(seq);
  if (keep < 0 || discard < 0 || discard > n || keep > n - discard) {
    fail(ErrorKind::kUsage, "%lld tokens behind the first %lld are not in a sequence of %lld",
         static_cast<long long>(discard), static_cast<long long>(keep), static_cast<long long>(n));
  }
  Ops ops(*pool_, kernels());
  pl::shift(*model_, *cache_, *state_, ops, *rope_, seq, n, keep, discard);
  cached_[static_cast<size_t>(seq)] = n - discard;
}

}  // namespace pl

// Our C interface: models, text, evaluation, sampling. abi_measure.cc and abi_quantize.cc have the rest of it,
// abi_ctransformers.cc has the other interface. Every call finds its engine in a registry, takes its lock, and turns what
// is thrown into a number and words. Nothing is trusted: pointers may be null, handles stale, counts negative.
#include <algorithm>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>

#include "../include/pocketllama.h"
#include "abi.h"
#include "architectures.h"
#include "engine.h"
#include "error.h"
#include "guarded.h"
#include "kernels/kernels.h"
#include "logprobs.h"
#include "registry.h"
#include "probe.h"
#include "sampler.h"

namespace {

using pl::copy_out;
using pl::engines;
using pl::ErrorKind;
using pl::fail;
using pl::failed_count;
using pl::failed_int;
using pl::guarded;
using pl::keep;
using pl::known_part;
using pl::last_error;
using pl::load;
using pl::Locked;
using pl::need;
using pl::need_input;
using pl::Registry;

struct LockedSampler {
  explicit LockedSampler(pl::SamplerParams params) : sampler(std::move(params)) {}
  std::mutex mutex;
  pl::Sampler sampler;
};

// Never destroyed, like engines().
Registry<LockedSampler>& samplers() {
  static auto* const registry = new Registry<LockedSampler>;
  return *registry;
}

// A row of the logits that the last evaluation kept; -1 is the last of them.
std::span<const float> kept_row(const Locked& engine, int64_t row) {
  const auto width = static_cast<size_t>(engine->n_vocab());
  const auto rows = static_cast<int64_t>(engine->logits().size() / std::max<size_t>(width, 1));
  if (rows == 0) fail(ErrorKind::kUsage, "nothing has been evaluated whose logits could be looked at");
  if (row < -1 || row >= rows) {
    fail(ErrorKind::kUsage, "row %lld is not one of %lld", static_cast<long long>(row), static_cast<long long>(rows));
  }
  return engine->logits().subspan(static_cast<size_t>(row < 0 ? rows - 1 : row) * width, width);
}

pl::Wants wants(int32_t number) {
  if (number == 0) return pl::Wants::kNothing;
  return number == PL_HIDDEN ? pl::Wants::kHidden : pl::Wants::kLogits;
}

pl::Type kv_type(int32_t number) {
  switch (number) {
    case PL_KV_F16: return pl::Type::F16;
    case PL_KV_F32: return pl::Type::F32;
    case PL_KV_Q8_0: return pl::Type::Q8_0;
    default: fail(ErrorKind::kUsage, "%d is no type of a cache: 0 is F16, 1 F32, 2 Q8_0", number);
  }
}

pl::SamplerParams sampler_params(const pl_sampling& p) {
  pl::SamplerParams out;
  out.seed = p.seed, out.temperature = p.temperature, out.top_k = p.top_k, out.top_p = p.top_p, out.min_p = p.min_p;
  out.typical_p = p.typical_p, out.xtc_probability = p.xtc_probability, out.xtc_threshold = p.xtc_threshold;
  out.penalty_last_n = p.penalty_last_n, out.repetition_penalty = p.repetition_penalty;
  out.frequency_penalty = p.frequency_penalty, out.presence_penalty = p.presence_penalty;
  out.dry_multiplier = p.dry_multiplier, out.dry_base = p.dry_base;
  out.dry_allowed_length = p.dry_allowed_length, out.dry_last_n = p.dry_last_n;
  need_input(p.dry_breakers, p.n_dry_breakers, "dry_breakers");
  if (p.n_dry_breakers) out.dry_breakers.assign(p.dry_breakers, p.dry_breakers + p.n_dry_breakers);
  if (p.mirostat != 0 && p.mirostat != 2) fail(ErrorKind::kUsage, "mirostat is %d; 0 and 2 are known", p.mirostat);
  out.mirostat = p.mirostat == 2, out.mirostat_tau = p.mirostat_tau, out.mirostat_eta = p.mirostat_eta;
  need_input(p.bias_tokens, p.n_bias, "bias_tokens");
  need(p.bias_values, p.n_bias, "bias_values");
  for (int32_t i = 0; i < p.n_bias; ++i) out.logit_bias.emplace_back(p.bias_tokens[i], p.bias_values[i]);
  return out;
}

double probed(double (*probe)(int), int32_t threads) {
  return guarded(
      [&] {
        if (threads < 1 || threads > 1024) fail(ErrorKind::kUsage, "threads must be from 1 to 1024, not %d", threads);
        return probe(threads);
      },
      [](int32_t kind) { return static_cast<double>(kind); });
}

}  // namespace

extern "C" {

const char* pl_version(void) { return PL_VERSION; }

const char* pl_isa(void) {
  return guarded([] { return pl::kernels().isa; }, [](int32_t) -> const char* { return ""; });
}

const char* pl_architectures(void) {
  return guarded([] { return keep(pl::known_architectures()); }, [](int32_t) -> const char* { return ""; });
}

const char* pl_last_error(void) { return last_error.words.c_str(); }
int32_t pl_last_error_kind(void) { return last_error.kind; }

pl_llm* pl_load(const char* path, const pl_options* options) {
  return guarded(
      [&] {
        const pl_options o = known_part(options, "pl_options");
        pl::EngineOptions out;
        out.context_length = o.context_length, out.n_seqs = o.n_seqs ? o.n_seqs : 1, out.threads = o.threads;
        out.kv_type = kv_type(o.kv_type);
        out.use_mmap = !o.no_mmap, out.vocab_only = o.vocab_only != 0;
        return load(path, out);
      },
      [](int32_t) -> pl_llm* { return nullptr; });
}

void pl_free(pl_llm* llm) {
  guarded([&] { engines().remove(llm); return 0; }, failed_int);
}

int32_t pl_vocab_size(pl_llm* llm) {
  return guarded([&] { return static_cast<int32_t>(engines().find(llm, "model")->n_vocab()); }, failed_int);
}
int32_t pl_context_length(pl_llm* llm) {
  return guarded([&] { return static_cast<int32_t>(engines().find(llm, "model")->n_ctx()); }, failed_int);
}
int32_t pl_embedding_size(pl_llm* llm) {
  return guarded([&] { return static_cast<int32_t>(engines().find(llm, "model")->dim()); }, failed_int);
}
int32_t pl_bos(pl_llm* llm) {
  return guarded([&] { return engines().find(llm, "model")->tokenizer().bos(); }, failed_int);
}
int32_t pl_eos(pl_llm* llm) {
  return guarded([&] { return engines().find(llm, "model")->tokenizer().eos(); }, failed_int);
}
int32_t pl_adds_bos(pl_llm* llm) {
  return guarded([&] { return int32_t{engines().find(llm, "model")->tokenizer().add_bos()}; }, failed_int);
}
int32_t pl_is_end(pl_llm* llm, int32_t token) {
  return guarded([&] { return int32_t{engines().find(llm, "model")->tokenizer().is_end(token)}; }, failed_int);
}

int64_t pl_ends(pl_llm* llm, int32_t* out, int64_t capacity) {
  return guarded([&] { return copy_out(engines().find(llm, "model")->tokenizer().end_ids(), out, capacity); }, failed_count);
}

int64_t pl_memory(pl_llm* llm, int32_t what) {
  return guarded(
      [&] {
        const auto engine = engines().find(llm, "model");
        const pl::EngineMemory& memory = engine->memory();
        switch (what) {
          case PL_MEMORY_WEIGHTS: return static_cast<int64_t>(memory.weights);
          case PL_MEMORY_CACHE: return static_cast<int64_t>(memory.cache);
          case PL_MEMORY_ARRAYS: return static_cast<int64_t>(memory.arrays);
          default: fail(ErrorKind::kUsage, "%d is no kind of memory: 0 to 2 are", what);
        }
      },
      failed_count);
}

// The tokenizer never changes, so text needs no lock: it can be tokenized while a long evaluation runs.
int64_t pl_tokenize(pl_llm* llm, const char* text, int64_t n_bytes, int32_t flags, int32_t* out, int64_t capacity) {
  return guarded(
      [&] {
        need_input(text, n_bytes, "the text");
        const std::string_view view(n_bytes ? text : "", static_cast<size_t>(n_bytes));
        const auto engine = engines().find(llm, "model");
        return copy_out(engine->tokenizer().encode(view, (flags & PL_BOS) != 0, (flags & PL_SPECIAL) != 0), out, capacity);
      },
      failed_count);
}

int64_t pl_piece(pl_llm* llm, int32_t token, int32_t flags, char* out, int64_t capacity) {
  return guarded(
      [&] {
        const auto engine = engines().find(llm, "model");
        return copy_out(engine->tokenizer().piece(token, (flags & PL_SPECIAL) != 0), out, capacity);
      },
      failed_count);
}

int64_t pl_detokenize(pl_llm* llm, const int32_t* tokens, int64_t n, int32_t flags, char* out, int64_t capacity) {
  return guarded(
      [&] {
        need_input(tokens, n, "tokens");
        const auto engine = engines().find(llm, "model");
        const std::span<const int32_t> ids(tokens, static_cast<size_t>(n));
        return copy_out(engine->tokenizer().decode(ids, (flags & PL_SPECIAL) != 0), out, capacity);
      },
      failed_count);
}

int32_t pl_eval(pl_llm* llm, const pl_item* items, int64_t n, const int32_t* abort) {
  return guarded(
      [&] {
        need(items, n, "items");
        const Locked engine(llm);
        engine->expect_room(n);  // before they are read: a wrong length is not followed out of memory
        std::vector<pl::Item> batch;
        batch.reserve(static_cast<size_t>(n));
        for (int64_t i = 0; i < n; ++i) {
          batch.push_back({items[i].token, items[i].seq, items[i].pos, wants(items[i].wants_logits)});
        }
        engine->eval(batch, abort);
        return int32_t{PL_OK};
      },
      failed_int);
}

int64_t pl_logits(pl_llm* llm, float* out, int64_t capacity) {
  return guarded([&] { return copy_out(Locked(llm)->logits(), out, capacity); }, failed_count);
}

int64_t pl_hidden(pl_llm* llm, float* out, int64_t capacity) {
  return guarded([&] { return copy_out(Locked(llm)->hidden(), out, capacity); }, failed_count);
}

int32_t pl_score(pl_llm* llm, const int32_t* tokens, int64_t n, float* out, int64_t capacity, const int32_t* abort) {
  return guarded(
      [&] {
        need(tokens, n, "tokens");
        need(out, capacity, "the output");
        const Locked engine(llm);
        engine->expect_room(n, 1);
        if (n > capacity / std::max<int64_t>(engine->n_vocab(), 1)) {
          fail(ErrorKind::kUsage, "%lld tokens need room for %lld logits each, there is room for %lld in all",
               static_cast<long long>(n), static_cast<long long>(engine->n_vocab()), static_cast<long long>(capacity));
        }
        engine->score({tokens, static_cast<size_t>(n)}, out, abort);
        return int32_t{PL_OK};
      },
      failed_int);
}

int32_t pl_embed(pl_llm* llm, const int32_t* tokens, int64_t n, int32_t pooling, float* out, int64_t capacity,
                 const int32_t* abort) {
  return guarded(
      [&] {
        need(tokens, n, "tokens");
        need(out, capacity, "the output");
        if (pooling != PL_LAST && pooling != PL_MEAN) fail(ErrorKind::kUsage, "pooling is 0 or 1, not %d", pooling);
        const Locked engine(llm);
        engine->expect_room(n, 1);
        if (capacity < engine->dim()) {
          fail(ErrorKind::kUsage, "an embedding has %lld floats, there is room for %lld",
               static_cast<long long>(engine->dim()), static_cast<long long>(capacity));
        }
        engine->embed({tokens, static_cast<size_t>(n)}, pooling == PL_MEAN, out, abort);
        return int32_t{PL_OK};
      },
      failed_int);
}

int32_t pl_logprobs(pl_llm* llm, int64_t row, int32_t* tokens, int64_t n, int64_t n_top, float* out, int64_t capacity) {
  return guarded(
      [&] {
        if (n < 0 || n_top < 0 || n > capacity || n_top > capacity - n) {
          fail(ErrorKind::kUsage, "%lld tokens and the %lld likeliest do not fit in %lld", static_cast<long long>(n),
               static_cast<long long>(n_top), static_cast<long long>(capacity));
        }
        need(tokens, capacity, "tokens");
        need(out, capacity, "the output");
        const Locked engine(llm);
        const auto given = static_cast<size_t>(n), top = static_cast<size_t>(n_top);
        pl::log_probabilities(kept_row(engine, row), {tokens, given + top}, {out, given + top}, given);
        return int32_t{PL_OK};
      },
      failed_int);
}

int32_t pl_cached(pl_llm* llm, int32_t seq) {
  return guarded([&] { return static_cast<int32_t>(Locked(llm)->cached(seq)); }, failed_int);
}

int32_t pl_truncate(pl_llm* llm, int32_t seq, int32_t from) {
  return guarded([&] { Locked(llm)->truncate(seq, from); return int32_t{PL_OK}; }, failed_int);
}

int32_t pl_shift(pl_llm* llm, int32_t seq, int32_t keep, int32_t discard) {
  return guarded([&] { Locked(llm)->shift(seq, keep, discard); return int32_t{PL_OK}; }, failed_int);
}

int32_t pl_set_threads(pl_llm* llm, int32_t threads) {
  return guarded([&] { Locked(llm)->set_threads(threads); return int32_t{PL_OK}; }, failed_int);
}

void pl_sampling_defaults(pl_sampling* out) {
  if (!out) return;
  const pl::SamplerParams d;
  *out = {};
  out->size = sizeof(pl_sampling);
  out->temperature = d.temperature, out->top_k = d.top_k, out->top_p = d.top_p, out->min_p = d.min_p;
  out->typical_p = d.typical_p, out->xtc_threshold = d.xtc_threshold, out->penalty_last_n = d.penalty_last_n;
  out->repetition_penalty = d.repetition_penalty, out->dry_base = d.dry_base;
  out->dry_allowed_length = d.dry_allowed_length, out->dry_last_n = d.dry_last_n;
  out->mirostat_tau = d.mirostat_tau, out->mirostat_eta = d.mirostat_eta;
}

pl_sampler* pl_sampler_new(const pl_sampling* params) {
  return guarded(
      [&] {
        if (!params) fail(ErrorKind::kUsage, "the sampling parameters are NULL");
        const pl_sampling p = known_part(params, "pl_sampling");
        return samplers().add<pl_sampler>(std::make_shared<LockedSampler>(sampler_params(p)));
      },
      [](int32_t) -> pl_sampler* { return nullptr; });
}

void pl_sampler_free(pl_sampler* sampler) {
  guarded([&] { samplers().remove(sampler); return 0; }, failed_int);
}

int32_t pl_sampler_allow(pl_llm* llm, pl_sampler* sampler, const uint32_t* mask, int64_t n_vocab) {
  return guarded(
      [&] {
        const auto s = samplers().find(sampler, "sampler");
        const int64_t known = engines().find(llm, "model")->n_vocab();
        if (n_vocab != known) {
          fail(ErrorKind::kUsage, "the mask is of %lld tokens, the model has %lld", static_cast<long long>(n_vocab),
               static_cast<long long>(known));
        }
        need(mask, n_vocab, "the mask");
        const std::lock_guard lock(s->mutex);
        s->sampler.allow({mask, static_cast<size_t>(n_vocab + 31) / 32});
        return int32_t{PL_OK};
      },
      failed_int);
}

int32_t pl_sample(pl_llm* llm, pl_sampler* sampler, int64_t row, const int32_t* history, int64_t n) {
  return guarded(
      [&] {
        need_input(history, n, "the history");
        const auto s = samplers().find(sampler, "sampler");
        const Locked engine(llm);
        const std::span<const float> logits = kept_row(engine, row);
        const std::lock_guard lock(s->mutex);
        return s->sampler.sample(logits, {history, static_cast<size_t>(n)});
      },
      failed_int);
}

double pl_probe_bandwidth(int32_t threads) { return probed(pl::probe_bandwidth, threads); }
double pl_probe_int8(int32_t threads) { return probed(pl::probe_int8, threads); }

}  // extern "C"

// ctransformers' C interface, function by function as version 0.2.27 calls it. It knows no capacities, and has no way to
// say why something failed but standard error.
#include <algorithm>
#include <cstdio>
#include <random>
#include <string_view>
#include <vector>

#include "abi.h"
#include "sampler.h"

namespace {

using pl::copy_out;
using pl::engines;
using pl::ErrorKind;
using pl::fail;
using pl::failed_int;
using pl::guarded;
using pl::keep;
using pl::last_error;
using pl::load;
using pl::Locked;
using pl::need;
using pl::need_input;

template <typename T>
T* data_or_null(std::span<T> values) {
  return values.empty() ? nullptr : values.data();
}

}  // namespace

extern "C" {

pl_llm* ctransformers_llm_create(const char* path, const char*, ctransformers_config config) {
  return guarded(
      [&] {
        pl::EngineOptions options;
        options.context_length = std::max(config.context_length, 0);
        options.use_mmap = config.mmap;
        return load(path, options);
      },
      [](int32_t) -> pl_llm* {
        // The ABI has no other way to say why.
        std::fprintf(stderr, "pocketllama: %s\n", last_error.words.c_str());
        return nullptr;
      });
}

void ctransformers_llm_delete(pl_llm* llm) { pl_free(llm); }

int ctransformers_llm_tokenize(pl_llm* llm, const char* text, bool add_bos, int* out) {
  return guarded(
      [&] {
        if (!text || !out) fail(ErrorKind::kUsage, "the text or the output is NULL");
        const std::string_view view(text);
        const auto characters = std::count_if(view.begin(), view.end(), [](char c) { return (c & 0xC0) != 0x80; });
        const auto engine = engines().find(llm, "model");
        auto tokens = engine->tokenizer().encode(view, false, false);
        // Here the caller decides, whatever the file says.
        if (add_bos && engine->tokenizer().bos() >= 0) tokens.insert(tokens.begin(), engine->tokenizer().bos());
        if (static_cast<int64_t>(tokens.size()) > characters + 1) {
          std::fprintf(stderr, "pocketllama: a text of %lld characters has %zu tokens, more than its caller has room for\n",
                       static_cast<long long>(characters), tokens.size());
        }
        return static_cast<int>(std::min<int64_t>(copy_out(tokens, out, characters + 1), characters + 1));
      },
      [](int32_t) { return 0; });
}

const char* ctransformers_llm_detokenize(pl_llm* llm, int token) {
  return guarded([&] { return keep(engines().find(llm, "model")->tokenizer().piece(token, false)); },
                 [](int32_t) -> const char* { return ""; });
}

bool ctransformers_llm_is_eos_token(pl_llm* llm, int token) { return pl_is_end(llm, token) == 1; }
int ctransformers_llm_eos_token_id(pl_llm* llm) { return pl_eos(llm); }
int ctransformers_llm_bos_token_id(pl_llm* llm) { return pl_bos(llm); }
int ctransformers_llm_vocab_size(pl_llm* llm) { return std::max(pl_vocab_size(llm), 0); }
int ctransformers_llm_context_length(pl_llm* llm) { return std::max(pl_context_length(llm), 0); }

const char* ctransformers_llm_architecture(pl_llm* llm) {
  return guarded([&] { return keep(engines().find(llm, "model")->architecture()); },
                 [](int32_t) -> const char* { return ""; });
}

bool ctransformers_llm_batch_eval(pl_llm* llm, const int* tokens, int n_tokens, int n_past, int batch_size, int threads) {
  return guarded(
      [&] {
        need(tokens, n_tokens, "tokens");
        if (batch_size < 1) fail(ErrorKind::kUsage, "batch_size must be at least 1, not %d", batch_size);
        const Locked engine(llm);
        engine->expect_room(0);  // a vocabulary has none: that is said first
        if (threads > 0) engine->set_threads(threads);
        if (n_past < 0 || n_past > engine->cached(0)) {
          fail(ErrorKind::kUsage, "%d tokens are said to have been evaluated, and %lld were", n_past,
               static_cast<long long>(engine->cached(0)));
        }
        if (static_cast<int64_t>(n_past) + n_tokens > engine->n_ctx()) {
          fail(ErrorKind::kContextOverflow, "%lld tokens do not fit the context of %lld",
               static_cast<long long>(n_past) + n_tokens, static_cast<long long>(engine->n_ctx()));
        }
        std::vector<pl::Item> items;
        for (int i = 0; i < n_tokens; ++i) {
          items.push_back({tokens[i], 0, n_past + i, i == n_tokens - 1 ? pl::Wants::kLogits : pl::Wants::kNothing});
        }
        engine->eval(items, nullptr);
        return true;
      },
      [](int32_t) {
        std::fprintf(stderr, "pocketllama: %s\n", last_error.words.c_str());
        return false;
      });
}

float* ctransformers_llm_logits_data(pl_llm* llm) {
  return guarded([&] { return data_or_null(Locked(llm)->logits()); }, [](int32_t) -> float* { return nullptr; });
}
int ctransformers_llm_logits_size(pl_llm* llm) {
  return guarded([&] { return static_cast<int>(Locked(llm)->logits().size()); }, [](int32_t) { return 0; });
}
const float* ctransformers_llm_embeddings_data(pl_llm* llm) {
  return guarded([&] { return data_or_null(Locked(llm)->hidden()); }, [](int32_t) -> const float* { return nullptr; });
}
int ctransformers_llm_embeddings_size(pl_llm* llm) {
  return guarded([&] { return static_cast<int>(Locked(llm)->hidden().size()); }, [](int32_t) { return 0; });
}

int ctransformers_llm_sample(pl_llm* llm, const int* last_tokens, int n_last, int top_k, float top_p, float temperature,
                             float repetition_penalty, int seed) {
  return guarded(
      [&] {
        need_input(last_tokens, n_last, "last_tokens");
        const Locked engine(llm);
        pl::SamplerParams params;
        params.top_k = std::max(top_k, 0), params.top_p = top_p, params.temperature = temperature;
        params.repetition_penalty = repetition_penalty, params.penalty_last_n = -1;
        // Callers pass one seed for all of a text's tokens; the position makes each choice its own.
        params.seed = seed < 0 ? std::random_device{}()
                               : (static_cast<uint64_t>(seed) << 32) ^ static_cast<uint64_t>(engine->cached(0));
        return static_cast<int>(pl::Sampler(params).sample(engine->logits(), {last_tokens, static_cast<size_t>(n_last)}));
      },
      [](int32_t) {
        std::fprintf(stderr, "pocketllama: %s\n", last_error.words.c_str());
        return -1;
      });
}

void ctransformers_llm_reset(pl_llm* llm) {
  guarded([&] { Locked(llm)->reset(); return 0; }, failed_int);
}

}  // extern "C"

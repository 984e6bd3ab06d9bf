/* libpocketllama: a language model from a GGUF file, as a C library.
 *
 * Two sets of functions work on one kind of handle. The first, pl_*, is ours: every buffer has its size, every failure
 * its kind and its words. The second, ctransformers_llm_*, is the ABI of ctransformers 0.2.27, so that programs written
 * for its library run on this one.
 *
 * Every function may be called from any thread. Calls on one handle wait for each other; a handle that was freed, or is
 * NULL, is an error and not a crash. No exception, abort or exit leaves the library. Text is UTF-8; token ids are
 * int32_t in [0, vocabulary). Functions that can fail return a negative pl_error where they would return a count; the
 * words are then in pl_last_error() of the same thread.
 */
#ifndef POCKETLLAMA_H
#define POCKETLLAMA_H

#include <stdbool.h>
#include <stdint.h>

#if defined(_WIN32)
#define PL_API __declspec(dllexport)
#else
#define PL_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* A loaded model with its cache, or a vocabulary alone. */
typedef struct pl_llm pl_llm;
/* The state of one generation's choices: parameters and a stream of random numbers. */
typedef struct pl_sampler pl_sampler;

typedef enum pl_error {
  PL_OK = 0,
  PL_INTERNAL = -1,         /* a fault of the library */
  PL_USAGE = -2,            /* an argument is wrong */
  PL_CONTEXT_OVERFLOW = -3, /* the tokens do not fit the context */
  PL_INVALID_MODEL = -4,    /* the file is damaged, or contradicts itself */
  PL_UNSUPPORTED = -5,      /* the file is fine, and of a kind that is not known */
  PL_OUT_OF_MEMORY = -6,
  PL_IO = -7,               /* the file cannot be read */
  PL_CANCELLED = -8
} pl_error;

/* Q8_0 takes 34 bytes for 32 elements, little more than half of F16; it needs heads of a multiple of 32. */
typedef enum pl_kv_type { PL_KV_F16 = 0, PL_KV_F32 = 1, PL_KV_Q8_0 = 2 } pl_kv_type;

/* Structs begin with their size as the caller was compiled, so that later versions can add members. */
typedef struct pl_options {
  uint32_t size;           /* sizeof(pl_options) */
  int32_t context_length;  /* tokens for each sequence; 0: what the model was trained for, up to 4096 */
  int32_t n_seqs;          /* sequences that the cache has room for; 0: 1 */
  int32_t threads;         /* 0: one for each processor */
  int32_t kv_type;         /* what the cache holds: a pl_kv_type */
  int32_t no_mmap;         /* 1: read the file into memory; a mapped one must not shrink or vanish while it is used */
  int32_t vocab_only;      /* 1: only the tokenizer; the file needs no tensors */
} pl_options;

/* What an item wants: nothing, its hidden state and its logits, or the hidden state alone (which saves the product with
 * the whole vocabulary). */
enum { PL_LOGITS = 1, PL_HIDDEN = 2 };

typedef struct pl_item {
  int32_t token, seq, pos;
  int32_t wants_logits; /* 0, PL_LOGITS or PL_HIDDEN; what is none of these counts as PL_LOGITS */
} pl_item;

/* The stages and their order are those of native/src/sampler.h. Zero-initialize, set size, and set what is wanted:
 * pl_sampling_defaults() does that. */
typedef struct pl_sampling {
  uint32_t size;
  uint64_t seed;
  float temperature; /* 0: greedy */
  int32_t top_k;     /* 0: all */
  float top_p, min_p, typical_p, xtc_probability, xtc_threshold;
  int32_t penalty_last_n; /* -1: the whole history */
  float repetition_penalty, frequency_penalty, presence_penalty;
  float dry_multiplier, dry_base;
  int32_t dry_allowed_length, dry_last_n;
  const int32_t* dry_breakers; /* token ids */
  int32_t n_dry_breakers;
  int32_t mirostat; /* 0 or 2 */
  float mirostat_tau, mirostat_eta;
  const int32_t* bias_tokens; /* n_bias ids, and what is added to their logits */
  const float* bias_values;
  int32_t n_bias;
} pl_sampling;

/* ---- about the library ------------------------------------------------------------------------------------------ */

PL_API const char* pl_version(void);
/* The instruction set that the kernels use on this machine: "scalar", "avx2", … */
PL_API const char* pl_isa(void);
/* The architectures that can be loaded, separated by ", ". */
PL_API const char* pl_architectures(void);
/* What the last failed call of this thread had to say; "" if none failed. Valid until the next call of this thread. */
PL_API const char* pl_last_error(void);
/* Its kind, a pl_error. */
PL_API int32_t pl_last_error_kind(void);

/* ---- models ----------------------------------------------------------------------------------------------------- */

/* Load the GGUF file at `path` (any part of a split one). `options` may be NULL. NULL on failure. */
PL_API pl_llm* pl_load(const char* path, const pl_options* options);
/* Free a handle: no later call finds it. Calls under way end as they would have, and the memory goes with the last of
 * them. NULL, and freeing twice, are fine. */
PL_API void pl_free(pl_llm* llm);

PL_API int32_t pl_vocab_size(pl_llm* llm);     /* tokens; also the length of a row of logits */
PL_API int32_t pl_context_length(pl_llm* llm); /* tokens that fit each sequence */
PL_API int32_t pl_embedding_size(pl_llm* llm); /* floats in an embedding */
PL_API int32_t pl_bos(pl_llm* llm);            /* the beginning-of-sequence token, -1 if there is none */
PL_API int32_t pl_eos(pl_llm* llm);            /* the main end-of-sequence token, -1 if there is none */
PL_API int32_t pl_adds_bos(pl_llm* llm);       /* 1 if texts of this model begin with bos */
PL_API int32_t pl_is_end(pl_llm* llm, int32_t token); /* 1 if `token` ends a generation */
/* All tokens for which it is 1, ascending. Writes up to `capacity` ids; returns how many there are. */
PL_API int64_t pl_ends(pl_llm* llm, int32_t* out, int64_t capacity);

enum { PL_MEMORY_WEIGHTS = 0, PL_MEMORY_CACHE = 1, PL_MEMORY_ARRAYS = 2 };
/* Bytes that the model takes: of its files (mapped ones are only as resident as they are used), of the cache (which
 * becomes resident as it fills), of the arrays of an evaluation. What is needed is computed before it is taken, and a
 * failure says how much that is, and how much is available. */
PL_API int64_t pl_memory(pl_llm* llm, int32_t what);

/* ---- text ------------------------------------------------------------------------------------------------------- */

enum { PL_BOS = 1, PL_SPECIAL = 2 };

/* The tokens of text[0, n_bytes). `flags`: PL_BOS puts what the model begins texts with in front; PL_SPECIAL lets the
 * names of control tokens stand for them. Writes up to `capacity` ids; returns how many there are. */
PL_API int64_t pl_tokenize(pl_llm* llm, const char* text, int64_t n_bytes, int32_t flags, int32_t* out, int64_t capacity);
/* The bytes of one token, which need not be whole characters; control tokens have none unless PL_SPECIAL. */
PL_API int64_t pl_piece(pl_llm* llm, int32_t token, int32_t flags, char* out, int64_t capacity);
/* The text whose tokens these are: undoes pl_tokenize. */
PL_API int64_t pl_detokenize(pl_llm* llm, const int32_t* tokens, int64_t n, int32_t flags, char* out, int64_t capacity);

/* ---- evaluation ------------------------------------------------------------------------------------------------- */

/* Evaluate items: of each sequence, in the order of their positions, which continue what its cache holds or replace its
 * end. `abort` may be NULL; when *abort becomes non-zero, the call returns PL_CANCELLED soon, and the sequences hold what
 * was complete. The logits of the items that want them are kept until the next evaluation; a failed one
 * leaves none. PL_OK or an error. */
PL_API int32_t pl_eval(pl_llm* llm, const pl_item* items, int64_t n, const int32_t* abort);
/* Copy the kept logits, (wanted, vocabulary) floats in the order of their items; returns the number of floats. */
PL_API int64_t pl_logits(pl_llm* llm, float* out, int64_t capacity);
/* Copy the kept hidden states behind the final norm, (items that wanted anything, embedding size) floats. */
PL_API int64_t pl_hidden(pl_llm* llm, float* out, int64_t capacity);
/* Evaluate tokens[0, n) as a new text in sequence 0 and write the logits behind each: out (n, vocabulary), capacity in
 * floats. PL_OK or an error. */
PL_API int32_t pl_score(pl_llm* llm, const int32_t* tokens, int64_t n, float* out, int64_t capacity, const int32_t* abort);
/* Evaluate tokens[0, n) as a new text in sequence 0 and write its embedding: the hidden state behind the last token, or
 * the mean of all. out (embedding size), capacity in floats. PL_OK or an error. */
enum { PL_LAST = 0, PL_MEAN = 1 };
PL_API int32_t pl_embed(pl_llm* llm, const int32_t* tokens, int64_t n, int32_t pooling, float* out, int64_t capacity,
                        const int32_t* abort);
/* Logarithms of probabilities in the i-th row of the kept logits (-1: the last), before any sampling: of tokens[0, n), and of
 * the n_top likeliest tokens, which are written behind them, the likeliest first. tokens, out (n + n_top), both with room for
 * `capacity`. PL_OK or an error. */
PL_API int32_t pl_logprobs(pl_llm* llm, int64_t row, int32_t* tokens, int64_t n, int64_t n_top, float* out, int64_t capacity);
/* How many tokens sequence `seq` holds. */
PL_API int32_t pl_cached(pl_llm* llm, int32_t seq);
/* Forget what sequence `seq` holds from position `from` on. */
PL_API int32_t pl_truncate(pl_llm* llm, int32_t seq, int32_t from);
/* Take positions [keep, keep + discard) out of sequence `seq`: what it holds behind them moves down, with its keys turned to
 * their new positions. That is not what evaluating the remaining text would give: what tokens saw in those that are gone
 * stays in them. The first tokens of a text should be among those kept, because models rest much of their attention there.
 * PL_UNSUPPORTED for models with learned positions; `discard` of 0 only asks that. */
PL_API int32_t pl_shift(pl_llm* llm, int32_t seq, int32_t keep, int32_t discard);
/* The threads of later evaluations; 0: one for each processor. */
PL_API int32_t pl_set_threads(pl_llm* llm, int32_t threads);

/* ---- sampling --------------------------------------------------------------------------------------------------- */

PL_API void pl_sampling_defaults(pl_sampling* out);
PL_API pl_sampler* pl_sampler_new(const pl_sampling* params);
PL_API void pl_sampler_free(pl_sampler* sampler);
/* The next token that `sampler` draws is one whose bit in `mask` is set: token t is bit t % 32 of mask[t / 32], for the
 * n_vocab tokens of the model. The draw after it is free again. PL_OK or an error. */
PL_API int32_t pl_sampler_allow(pl_llm* llm, pl_sampler* sampler, const uint32_t* mask, int64_t n_vocab);
/* A token after `history`, from the i-th row of the kept logits (-1: the last). */
PL_API int32_t pl_sample(pl_llm* llm, pl_sampler* sampler, int64_t row, const int32_t* history, int64_t n);

/* ---- measuring a model ------------------------------------------------------------------------------------------ */

typedef struct pl_loss {
  double loss;       /* -log p of the token that came, natural */
  double base_loss;  /* the same by the base; 0 without one */
  double divergence; /* of this model from the base: Σ p_base log(p_base / p) */
  int64_t same_top;  /* 1 if both hold the same token for the likeliest */
} pl_loss;

/* The kept logits of rows [first, first + n) in little space, for comparing another model with: 12 bytes and two for each
 * token of the vocabulary. Writes all if `capacity` allows; returns the bytes needed. The layout is in native/src/loss.h. */
PL_API int64_t pl_pack_logits(pl_llm* llm, int64_t first, int64_t n, uint8_t* out, int64_t capacity);
/* What each of the kept rows [first, first + n) makes of tokens[i], which came behind it: out (n). `base`: what
 * pl_pack_logits gave for the same rows of another model, or NULL and 0. PL_OK or an error. */
PL_API int32_t pl_losses(pl_llm* llm, int64_t first, const int32_t* tokens, int64_t n, const uint8_t* base,
                         int64_t base_bytes, pl_loss* out, int64_t capacity);
/* From now on (1), add up the squares of what each matrix is multiplied by; 0: no more, and forget them. */
PL_API int32_t pl_watch(pl_llm* llm, int32_t on);
/* The sums of a matrix, by its tensor's name: sums (matrices, columns), counts (matrices) of tokens; several matrices where
 * experts lie in one tensor. Returns the number of sums, 0 if nothing was multiplied by it. */
PL_API int64_t pl_watched(pl_llm* llm, const char* tensor, float* sums, int64_t capacity, int64_t* counts, int64_t n_counts);

/* ---- quantizing ------------------------------------------------------------------------------------------------- */

/* A matrix from one type into another; types are GGUF's numbers. Set size, and what is wanted. */
typedef struct pl_requantization {
  uint32_t size;             /* sizeof(pl_requantization) */
  int32_t from, to;          /* F32, F16, BF16 and all quantized types; the same but IQ1, IQ2, IQ3, MXFP4 */
  int32_t threads;           /* 1 to 1024 */
  int64_t rows, cols;        /* rows are whole blocks of both types */
  const void* src;           /* (rows, cols), exactly src_bytes */
  int64_t src_bytes;
  void* dst;                 /* (rows, cols), exactly dst_bytes */
  int64_t dst_bytes;
  const float* importance;   /* (cols): how much each column's squared errors count */
  int64_t n_importance;      /* cols, or 0 for none: then Q4_0 to Q8_0 are rounded as their definition has it */
  const int32_t* abort;      /* may be NULL; when *abort becomes non-zero, the call returns PL_CANCELLED soon */
} pl_requantization;

/* The result depends on nothing but the numbers and the importance: neither on threads nor on the instruction set.
 * PL_INVALID_MODEL for NaN, infinity, and numbers too large for the type. PL_OK or an error. */
PL_API int32_t pl_requantize(const pl_requantization* work);

/* ---- the ABI of ctransformers 0.2.27 ---------------------------------------------------------------------------- */

typedef struct ctransformers_config {
  int context_length; /* -1: the model's own, up to 4096 */
  int gpu_layers;     /* ignored */
  bool mmap;
  bool mlock;         /* ignored */
} ctransformers_config;

PL_API pl_llm* ctransformers_llm_create(const char* path, const char* type, ctransformers_config config);
PL_API void ctransformers_llm_delete(pl_llm* llm);
/* The ABI gives no capacity, and callers allot an int for each character and one more: no more than that is written. */
PL_API int ctransformers_llm_tokenize(pl_llm* llm, const char* text, bool add_bos, int* out);
PL_API const char* ctransformers_llm_detokenize(pl_llm* llm, int token);
PL_API bool ctransformers_llm_is_eos_token(pl_llm* llm, int token);
PL_API int ctransformers_llm_eos_token_id(pl_llm* llm);
PL_API int ctransformers_llm_bos_token_id(pl_llm* llm);
PL_API int ctransformers_llm_vocab_size(pl_llm* llm);
PL_API int ctransformers_llm_context_length(pl_llm* llm);
PL_API const char* ctransformers_llm_architecture(pl_llm* llm);
PL_API bool ctransformers_llm_batch_eval(pl_llm* llm, const int* tokens, int n_tokens, int n_past, int batch_size,
                                         int threads);
/* The logits behind the last evaluated token; they may be changed before the next sample. NULL before any evaluation. */
PL_API float* ctransformers_llm_logits_data(pl_llm* llm);
PL_API int ctransformers_llm_logits_size(pl_llm* llm);
PL_API const float* ctransformers_llm_embeddings_data(pl_llm* llm);
PL_API int ctransformers_llm_embeddings_size(pl_llm* llm);
/* -1 on failure. With one seed, each position of a text has a number of its own. */
PL_API int ctransformers_llm_sample(pl_llm* llm, const int* last_tokens, int n_last, int top_k, float top_p,
                                    float temperature, float repetition_penalty, int seed);
PL_API void ctransformers_llm_reset(pl_llm* llm);

/* ---- the machine's limits --------------------------------------------------------------------------------------- */

/* Bytes a second that `threads` threads (1 to 1024) read together from memory. Takes 256 MiB and a
 * moment; a negative pl_error on failure. */
PL_API double pl_probe_bandwidth(int32_t threads);
/* Products of int8 a second that they do together, with the instructions that the kernels may use on this machine. */
PL_API double pl_probe_int8(int32_t threads);

#ifdef __cplusplus
}
#endif

#endif

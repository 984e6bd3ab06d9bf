// What a model's answers are worth: losses, divergences, and what its matrices are multiplied by.
#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <string>

#include "abi.h"
#include "loss.h"

namespace pl {
namespace {

// The rows [first, first + n) of the logits that the last evaluation kept.
std::span<const float> kept_rows(const Locked& engine, int64_t first, int64_t n) {
  const int64_t width = std::max<int64_t>(engine->n_vocab(), 1);
  const auto rows = static_cast<int64_t>(engine->logits().size()) / width;
  if (first < 0 || n < 0 || first > rows || n > rows - first) {
    fail(ErrorKind::kUsage, "the rows from %lld on, %lld of them, are not among the %lld that were kept",
         static_cast<long long>(first), static_cast<long long>(n), static_cast<long long>(rows));
  }
  return engine->logits().subspan(static_cast<size_t>(first * width), static_cast<size_t>(n * width));
}

// body(i) for i < n, by the engine's threads; the first thing that one of them throws is thrown.
template <typename Body>
void for_each_row(const Locked& engine, int64_t n, const Body& body) {
  std::mutex mutex;
  std::exception_ptr thrown;
  engine->pool().parallel_for(n, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      try {
        body(i);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!thrown) thrown = std::current_exception();
      }
    }
  });
  if (thrown) std::rethrow_exception(thrown);
}

}  // namespace
}  // namespace pl

extern "C" {

int64_t pl_pack_logits(pl_llm* llm, int64_t first, int64_t n, uint8_t* out, int64_t capacity) {
  using namespace pl;
  return guarded(
      [&] {
        need(out, capacity, "the output");
        const Locked engine(llm);
        const auto rows = kept_rows(engine, first, n);
        const int64_t width = engine->n_vocab(), each = packed_logits_bytes(width);
        if (capacity < n * each) return n * each;
        for_each_row(engine, n, [&](int64_t i) {
          pack_logits(rows.subspan(static_cast<size_t>(i * width), static_cast<size_t>(width)),
                      reinterpret_cast<std::byte*>(out) + i * each);
        });
        return n * each;
      },
      failed_count);
}

int32_t pl_losses(pl_llm* llm, int64_t first, const int32_t* tokens, int64_t n, const uint8_t* base, int64_t base_bytes,
                  pl_loss* out, int64_t capacity) {
  using namespace pl;
  return guarded(
      [&] {
        need_input(tokens, n, "tokens");
        need(base, base_bytes, "the base");
        need(out, capacity, "the output");
        const Locked engine(llm);
        const auto rows = kept_rows(engine, first, n);
        const int64_t width = engine->n_vocab(), each = packed_logits_bytes(width);
        if (capacity < n) fail(ErrorKind::kUsage, "there is no room for %lld losses", static_cast<long long>(n));
        if (base_bytes != 0 && base_bytes != n * each) {
          fail(ErrorKind::kUsage, "the base has %lld bytes; %lld rows of this vocabulary have %lld",
               static_cast<long long>(base_bytes), static_cast<long long>(n), static_cast<long long>(n * each));
        }
        for_each_row(engine, n, [&](int64_t i) {
          const auto* row = base_bytes ? reinterpret_cast<const std::byte*>(base) + i * each : nullptr;
          const Loss found =
              loss_of(rows.subspan(static_cast<size_t>(i * width), static_cast<size_t>(width)), tokens[i], row);
          out[i] = {found.loss, found.base_loss, found.divergence, found.same_top};
        });
        return int32_t{PL_OK};
      },
      failed_int);
}

int32_t pl_watch(pl_llm* llm, int32_t on) {
  using namespace pl;
  return guarded([&] { Locked(llm)->watch(on != 0); return int32_t{PL_OK}; }, failed_int);
}

int64_t pl_watched(pl_llm* llm, const char* tensor, float* sums, int64_t capacity, int64_t* counts, int64_t n_counts) {
  using namespace pl;
  return guarded(
      [&] {
        if (!tensor) fail(ErrorKind::kUsage, "the tensor's name is NULL");
        need(sums, capacity, "the sums");
        need(counts, n_counts, "the counts");
        const Locked engine(llm);
        if (!engine->activations()) fail(ErrorKind::kUsage, "this model is not watched");
        const ActivationSums::Sums* const found = engine->activations()->of(tensor);
        if (!found) return int64_t{0};
        const auto n = static_cast<int64_t>(found->squares.size()), matrices = static_cast<int64_t>(found->counts.size());
        for (int64_t i = 0; i < std::min(n, capacity); ++i) sums[i] = static_cast<float>(found->squares[static_cast<size_t>(i)]);
        for (int64_t i = 0; i < std::min(matrices, n_counts); ++i) counts[i] = found->counts[static_cast<size_t>(i)];
        return n;
      },
      failed_count);
}

}  // extern "C"

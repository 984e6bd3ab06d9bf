// What the files of the C interface share: handles, and the checks of what callers give.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>

#include "../include/pocketllama.h"
#include "engine.h"
#include "error.h"
#include "guarded.h"
#include "registry.h"

namespace pl {

// Every loaded model. Never destroyed: other threads may still call while the process ends.
inline Registry<Engine>& engines() {
  static auto* const registry = new Registry<Engine>;
  return *registry;
}

// An engine, locked for one call.
struct Locked {
  explicit Locked(const pl_llm* llm) : engine(engines().find(llm, "model")), lock(engine->mutex) {}
  Engine* operator->() const { return engine.get(); }
  std::shared_ptr<Engine> engine;
  std::lock_guard<std::mutex> lock;
};

inline void need(const void* pointer, int64_t n, const char* name) {
  if (n < 0) fail(ErrorKind::kUsage, "the length of %s is negative (%lld)", name, static_cast<long long>(n));
  if (n > 0 && !pointer) fail(ErrorKind::kUsage, "%s is NULL", name);
}

// An input that is read: no caller has an array of this length, and a wrong one is not followed out of memory.
constexpr int64_t kLongestInput = int64_t{1} << 30;

inline void need_input(const void* pointer, int64_t n, const char* name) {
  need(pointer, n, name);
  if (n > kLongestInput) {
    fail(ErrorKind::kUsage, "the length of %s is %lld, and may be %lld at most", name, static_cast<long long>(n),
         static_cast<long long>(kLongestInput));
  }
}

inline int64_t failed_count(int32_t kind) { return kind; }
inline int32_t failed_int(int32_t kind) { return kind; }

// The members of a struct that the caller knows; the rest are zero.
template <typename T>
T known_part(const T* given, const char* name) {
  T out{};
  if (!given) return out;
  if (given->size < sizeof(uint32_t) || given->size > 4096) fail(ErrorKind::kUsage, "%s.size is %u", name, given->size);
  std::memcpy(&out, given, std::min<size_t>(given->size, sizeof(T)));
  return out;
}

// Copies as much of `from` as fits, and gives how much there is.
template <typename T, typename From>
int64_t copy_out(const From& from, T* out, int64_t capacity) {
  need(out, capacity, "the output");
  const auto n = static_cast<int64_t>(from.size());
  std::copy_n(from.begin(), std::min(n, capacity), out);
  return n;
}

// What a function that returns a const char* points into, until the thread's next such call.
inline const char* keep(std::string text) {
  thread_local std::string text_buffer;
  text_buffer = std::move(text);
  return text_buffer.c_str();
}

inline pl_llm* load(const char* path, const EngineOptions& options) {
  if (!path) fail(ErrorKind::kUsage, "the path is NULL");
  return engines().add<pl_llm>(std::make_shared<Engine>(path, options));
}

}  // namespace pl

// What the handles of the C API stand for.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>

#include "error.h"

namespace pl {

// Handles are numbers that are given out once, not addresses: one that was freed never comes to mean another model, and
// a model is never taken for a sampler. They are odd, so that no pointer of a caller's own is one.
inline void* next_handle() {
  static std::atomic<uintptr_t> next{0x1001};
  return reinterpret_cast<void*>(next.fetch_add(2));
}

// The engines behind the handles. A call holds its engine alive, so that freeing waits for nobody and breaks nothing.
template <typename T>
class Registry {
 public:
  template <typename Handle>
  Handle* add(std::shared_ptr<T> item) {
    std::unique_lock lock(mutex_);
    void* const key = next_handle();
    items_.emplace(key, std::move(item));
    return static_cast<Handle*>(key);
  }
  std::shared_ptr<T> find(const void* handle, const char* what) const {
    std::shared_lock lock(mutex_);
    const auto found = items_.find(const_cast<void*>(handle));
    if (found == items_.end()) fail(ErrorKind::kUsage, "this %s is NULL, or was freed", what);
    return found->second;
  }
  void remove(const void* handle) {
    std::shared_ptr<T> gone;  // destroyed after the lock is released: that may take long
    std::unique_lock lock(mutex_);
    const auto found = items_.find(const_cast<void*>(handle));
    if (found == items_.end()) return;
    gone = std::move(found->second);
    items_.erase(found);
    lock.unlock();
  }

 private:
  mutable std::shared_mutex mutex_;
  std::map<void*, std::shared_ptr<T>> items_;
};

}  // namespace pl

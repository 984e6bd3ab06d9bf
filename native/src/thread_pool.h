// Workers that stay: between two pieces of work they spin for a moment, because the next one usually comes at once, and
// then sleep, because nobody likes a laptop that runs hot while it waits.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace pl {

// A pool for one caller at a time (the engine's lock sees to that). What is computed must not depend on which thread
// computes it: pieces are handed out as threads become free, so that a slow core only slows its own piece.
class ThreadPool {
 public:
  // `threads` counts the calling thread; at least 1. Fails with kOutOfMemory where the system has no more threads.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(begin, end) on pieces that together are [0, n), of `grain` each where several threads share them; returns
  // when all are done.
  template <typename Body>
  void parallel_for(int64_t n, int64_t grain, Body&& body) {
    using Plain = std::remove_reference_t<Body>;
    run(n, grain, [](void* b, int64_t begin, int64_t end) { (*static_cast<Plain*>(b))(begin, end); },
        const_cast<void*>(static_cast<const void*>(&body)));
  }

 private:
  using Piece = void (*)(void* body, int64_t begin, int64_t end);

  void run(int64_t n, int64_t grain, Piece piece, void* body);
  void work();
  void join();
  void take_pieces();

  std::vector<std::thread> workers_;

  // The work at hand; written by the caller while phase_ is even and nobody has joined, read by those who join.
  Piece piece_ = nullptr;
  void* body_ = nullptr;
  int64_t n_ = 0, grain_ = 1;
  std::atomic<int64_t> next_{0};

  std::atomic<uint64_t> phase_{0};  // odd: there is work to join, one number for each; even: no more
  std::atomic<int> joined_{0};      // workers that are at it, or looking whether they still may
  std::atomic<int> asleep_{0};
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
};

}  // namespace pl

#include "thread_pool.h"

#include <algorithm>

#include "error.h"

namespace pl {
namespace {

// About 50 microseconds: longer than the serial stretches between two products of a decode step, shorter than what a
// person's battery notices. Beyond it a worker sleeps, and waking costs about as much again.
constexpr int kSpins = 2000;

inline void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  try {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
  } catch (...) {
    const size_t made = workers_.size() + 1;
    join();  // a thread that is destroyed while it runs ends the process
    fail(ErrorKind::kOutOfMemory, "%d threads are wanted, and the system allows no more than %zu now", threads, made);
  }
}

ThreadPool::~ThreadPool() { join(); }

void ThreadPool::join() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run(int64_t n, int64_t grain, Piece piece, void* body) {
  if (n <= 0) return;
  grain = std::max<int64_t>(grain, 1);
  if (workers_.empty() || n <= grain) {
    piece(body, 0, n);
    return;
  }
  piece_ = piece, body_ = body, n_ = n, grain_ = grain;
  next_.store(0, std::memory_order_relaxed);
  phase_.fetch_add(1);  // sequentially consistent, as is asleep_: one of the two sides sees the other
  if (asleep_.load() > 0) {
    { std::lock_guard lock(mutex_); }  // a worker between its last look and its sleep has the lock
    wake_.notify_all();
  }
  take_pieces();
  // Every piece has been taken. Only those who took one are waited for: a worker that the system has not let run meanwhile
  // (other programs want the processor too) finds the door closed, and costs nothing.
  phase_.fetch_add(1);
  for (int spins = 0; joined_.load() > 0; ++spins) {
    // A worker that was put aside in the middle of its piece needs this core more than we do.
    if (spins < kSpins) pause(); else std::this_thread::yield();
  }
}

void ThreadPool::take_pieces() {
  while (true) {
    const int64_t begin = next_.fetch_add(grain_, std::memory_order_relaxed);
    if (begin >= n_) return;
    piece_(body_, begin, std::min(n_, begin + grain_));
  }
}

void ThreadPool::work() {
  uint64_t seen = 0;
  const auto news = [&](uint64_t phase) { return phase != seen && phase % 2 == 1; };
  while (true) {
    for (int spins = 0; !news(phase_.load(std::memory_order_acquire)) && !stop_;) {
      if (++spins < kSpins) {
        pause();
        continue;
      }
      std::unique_lock lock(mutex_);
      asleep_.fetch_add(1);
      wake_.wait(lock, [&] { return news(phase_.load()) || stop_; });
      asleep_.fetch_sub(1);
    }
    if (stop_) return;
    // Announced first and looked at again after that: the caller closes first and looks at the announcements after that.
    joined_.fetch_add(1);
    const uint64_t phase = phase_.load();
    if (news(phase)) {
      seen = phase;
      take_pieces();
    }
    joined_.fetch_sub(1);
  }
}

}  // namespace pl

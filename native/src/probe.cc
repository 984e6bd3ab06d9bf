#include "probe.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "kernels/probe.h"
#include "thread_pool.h"

namespace pl {
namespace {

template <typename Pass>
double seconds(const Pass& pass) {
  const auto start = std::chrono::steady_clock::now();
  pass();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// The best of `passes`: what else runs on the machine only ever takes away. `pass` is run once more before that, to bring
// clocks and pages to life.
template <typename Pass>
double shortest_seconds(int passes, const Pass& pass) {
  pass();
  double best = 1e30;
  for (int i = 0; i < passes; ++i) best = std::min(best, seconds(pass));
  return best;
}

constexpr auto kAlignment = std::align_val_t{2 << 20};  // a huge page's

struct Free {
  void operator()(char* memory) const { ::operator delete[](memory, kAlignment); }
};

// In huge pages where the system has them: the limit is the memory's, not that of the page tables.
std::unique_ptr<char[], Free> allocate(int64_t bytes) {
  std::unique_ptr<char[], Free> memory(new (kAlignment) char[static_cast<size_t>(bytes)]);
#if defined(__linux__)
  madvise(memory.get(), static_cast<size_t>(bytes), MADV_HUGEPAGE);
#endif
  return memory;
}

// The results go here, or the compiler would see that nobody wants them.
std::atomic<uint64_t> sink;

}  // namespace

double probe_bandwidth(int threads) {
  constexpr int64_t kBytes = int64_t{256} << 20;  // far beyond the caches of machines that people sit at
  constexpr int64_t kPiece = int64_t{256} << 10;
  const Probe probe = best_probe();
  ThreadPool pool(threads);
  const auto memory = allocate(kBytes);
  // Written first: pages that never were are all the same one.
  pool.parallel_for(kBytes, kPiece, [&](int64_t begin, int64_t end) {
    std::memset(memory.get() + begin, 1, static_cast<size_t>(end - begin));
  });
  // Which way of reading is the fastest depends on the machine. In turns: what else runs there disturbs all alike.
  constexpr int kRounds = 3;
  double best = 1e30;
  for (int round = 0; round < kRounds; ++round) {
    for (int streams = 1; streams <= kProbeStreams; streams *= 2) {
      for (const int64_t ahead : {int64_t{0}, 4 * kProbeLine}) {
        best = std::min(best, seconds([&] {
          pool.parallel_for(kBytes, kPiece, [&](int64_t begin, int64_t end) {
            sink.fetch_xor(probe.read(memory.get() + begin, end - begin, streams, ahead), std::memory_order_relaxed);
          });
        }));
      }
    }
  }
  return kBytes / best;
}

double probe_int8(int threads) {
  constexpr int64_t kPieces = 32;          // for each thread: a core that is taken away shall not hold up the others
  constexpr int64_t kMacs = int64_t{1} << 25;  // of a piece: a fifth of a millisecond
  const Probe probe = best_probe();
  ThreadPool pool(threads);
  const int64_t rounds = kMacs / probe.macs_per_round, pieces = kPieces * threads;
  const double macs = static_cast<double>(pieces * rounds * probe.macs_per_round);
  return macs / shortest_seconds(10, [&] {
           pool.parallel_for(pieces, 1, [&](int64_t begin, int64_t end) {
             for (int64_t i = begin; i < end; ++i) {
               sink.fetch_xor(static_cast<uint64_t>(probe.multiply(rounds)), std::memory_order_relaxed);
             }
           });
         });
}

}  // namespace pl

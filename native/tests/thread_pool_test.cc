// The thread pool: every piece once, whatever the sizes; sleeping workers wake; pools come and go.
#include "../src/thread_pool.h"

#include <atomic>
#include <chrono>
#include <vector>

#include "check.h"

int main() {
  for (int threads = 1; threads <= 5; ++threads) {
    pl::ThreadPool pool(threads);
    CHECK_EQ(pool.threads(), threads);
    for (int64_t n : {0, 1, 2, 7, 64, 1000}) {
      for (int64_t grain : {0, 1, 3, 2000}) {
        std::vector<std::atomic<int>> seen(static_cast<size_t>(n));
        pool.parallel_for(n, grain, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
        });
        for (const auto& times : seen) CHECK_EQ(times.load(), 1);
      }
    }
    // Many small pieces of work in a row, some of them after the workers have gone to sleep.
    int64_t sum = 0;
    for (int round = 0; round < 300; ++round) {
      if (round % 100 == 99) std::this_thread::sleep_for(std::chrono::milliseconds(5));
      std::atomic<int64_t> total{0};
      pool.parallel_for(50, 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) total += i;
      });
      sum += total;
    }
    CHECK_EQ(sum, int64_t{300} * 1225);
  }
  for (int i = 0; i < 50; ++i) pl::ThreadPool never_used(3);
  return check_failures();
}

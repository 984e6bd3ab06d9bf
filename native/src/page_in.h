// Mapped weights come into a process by a fault for each few pages of them. This lets the system map what it has in memory
// already while a load does other things, so that the first token finds it there.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <thread>
#include <vector>

namespace pl {

// Works in a thread of its own until all is done or it is destroyed, which the first evaluation does. Nothing is read from a
// disk for it: what is not in memory is left out, and so a file larger than the memory costs nothing. Does nothing but on
// Linux from 5.14 on.
class PageIn {
 public:
  // With a page the system maps what it has of its neighbours: of all these, unless it is set up otherwise (fault_around_bytes).
  // So one page of them is asked for. Asking for megabytes takes twice as long, and keeps whoever wants memory meanwhile
  // waiting, as a load does a hundred times.
  static constexpr uintptr_t kWindow = uintptr_t{64} << 10;

  // The parts must stay mapped as long as this lives.
  explicit PageIn(std::vector<std::span<const std::byte>> parts);
  ~PageIn();
  PageIn(const PageIn&) = delete;
  PageIn& operator=(const PageIn&) = delete;

 private:
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace pl

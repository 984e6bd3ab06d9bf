// Mapped weights come into a process by a fault for each few pages of them. This lets the system map what it has in memory
// already while a load does other things, so that the first token finds it there.
#pragma once

#include <atomic>
#include <cstddef>
#include <span>
#include <thread>
#include <vector>

namespace pl {

// Works in a thread of its own, until all is done or it is destroyed: at the first evaluation, which needs the cores itself. Nothing is read from a disk for it: what is not in
// memory is left out, and so a file larger than the memory costs nothing. Does nothing but on Linux from 5.14 on.
class PageIn {
 public:
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

#include "page_in.h"

#include <algorithm>
#include <cstdint>
#include <system_error>
#include <utility>

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#if !defined(MADV_POPULATE_READ)
#define MADV_POPULATE_READ 22  // of Linux 5.14; older headers lack the name
#endif
#endif

namespace pl {

#if defined(__linux__)

namespace {

// False where nothing more is to be expected.
bool populate(uintptr_t from, uintptr_t page) {
  void* const at = reinterpret_cast<void*>(from);  // NOLINT(performance-no-int-to-ptr)
  unsigned char present = 0;
  if (mincore(at, page, &present) != 0) return false;
  return (present & 1) == 0 || madvise(at, page, MADV_POPULATE_READ) == 0;
}

}  // namespace

PageIn::PageIn(std::vector<std::span<const std::byte>> parts) {
  const auto work = [this, parts = std::move(parts)] {
    const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    const uintptr_t window = std::max(kWindow, page);
    for (const std::span<const std::byte> part : parts) {
      // Pages that lie wholly within the part: no other is known to be mapped.
      const auto start = reinterpret_cast<uintptr_t>(part.data());
      const uintptr_t end = (start + part.size()) / page * page;
      for (uintptr_t at = (start + page - 1) / page * page; at < end; at = at / window * window + window) {
        if (stop_.load(std::memory_order_relaxed)) return;
        if (!populate(at, page)) return;
      }
    }
  };
  try {
    thread_ = std::thread(work);
  } catch (const std::system_error&) {
    // No thread, and so no help: faults will do.
  }
}

#else

PageIn::PageIn(std::vector<std::span<const std::byte>>) {}

#endif

PageIn::~PageIn() {
  stop_.store(true, std::memory_order_relaxed);
  if (thread_.joinable()) thread_.join();
}

}  // namespace pl

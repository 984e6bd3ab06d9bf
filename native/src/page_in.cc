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

// At a time: who asks the system for memory meanwhile waits no longer than this takes, a third of a millisecond.
constexpr uintptr_t kChunk = uintptr_t{4} << 20;

// False where nothing more is to be expected.
bool populate(uintptr_t from, uintptr_t bytes, uintptr_t page, std::vector<unsigned char>& present) {
  void* const at = reinterpret_cast<void*>(from);  // NOLINT(performance-no-int-to-ptr)
  present.resize(bytes / page);
  if (mincore(at, bytes, present.data()) != 0) return false;
  if (!std::all_of(present.begin(), present.end(), [](unsigned char p) { return (p & 1) != 0; })) return true;
  return madvise(at, bytes, MADV_POPULATE_READ) == 0;
}

}  // namespace

PageIn::PageIn(std::vector<std::span<const std::byte>> parts) {
  const auto work = [this, parts = std::move(parts)] {
    const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    std::vector<unsigned char> present;
    for (const std::span<const std::byte> part : parts) {
      // Pages that lie wholly within the part: no other is known to be mapped.
      const auto start = reinterpret_cast<uintptr_t>(part.data());
      const uintptr_t end = (start + part.size()) / page * page;
      for (uintptr_t at = (start + page - 1) / page * page; at < end; at += kChunk) {
        if (stop_.load(std::memory_order_relaxed)) return;
        if (!populate(at, std::min(kChunk, end - at), page, present)) return;
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

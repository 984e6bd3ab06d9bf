// Pages of a mapped file are there before anybody touches them; nothing happens to a file that has no such pages any more.
#include "../src/page_in.h"

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>

#include "../src/file.h"
#include "check.h"

#if defined(__linux__)
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace {

using Part = std::span<const std::byte>;

const char* const kPath = "page_in_test.bin";

pl::MappedFile map_file(size_t bytes) {
  std::ofstream(kPath, std::ios::binary) << std::string(bytes, 'x');
  return pl::MappedFile::open(kPath, true);
}

#if defined(__linux__)

// Whether the process has the page mapped, as the system tells: 1 or 0, -1 where it does not.
int present(const std::byte* page) {
  const int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  uint64_t entry = 0;
  const auto at = static_cast<off_t>(reinterpret_cast<uintptr_t>(page) / static_cast<uintptr_t>(sysconf(_SC_PAGESIZE)) * 8);
  const bool read_it = fd >= 0 && pread(fd, &entry, sizeof entry, at) == static_cast<ssize_t>(sizeof entry);
  if (fd >= 0) close(fd);
  return read_it ? static_cast<int>(entry >> 63) : -1;
}

// Whether this system does it at all: it is Linux from 5.14 on, and no emulator.
bool possible() {
  const pl::MappedFile file = map_file(1 << 20);
  const std::byte* const data = file.bytes().data();
  const bool before = present(data) == 0;
  return madvise(const_cast<std::byte*>(data), static_cast<size_t>(sysconf(_SC_PAGESIZE)), 22) == 0 && before && present(data) == 1;
}

void test_pages_are_there() {
  constexpr size_t kBytes = size_t{9} << 20;
  constexpr uintptr_t kWindow = pl::PageIn::kWindow;
  if (!possible()) {
    std::fputs("pages cannot be populated here, or not be looked at: skipped\n", stderr);
    return;
  }
  const pl::MappedFile file = map_file(kBytes);
  const Part bytes = file.bytes();
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const pl::PageIn page_in({bytes.subspan(1, page), bytes.subspan(4 * page + 100)});
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  const auto begin = reinterpret_cast<uintptr_t>(bytes.data());
  const std::byte* const last = bytes.data() + kBytes - 1 - (begin + kBytes - 1) % kWindow;
  while (present(last) == 0 && std::chrono::steady_clock::now() < end) std::this_thread::yield();
  // A page of each 64 KiB, by its address; its neighbours are the system's affair.
  for (uintptr_t at = begin + 5 * page; at < begin + kBytes; at = (at / kWindow + 1) * kWindow) {
    CHECK_EQ(present(bytes.data() + (at - begin)), 1);
  }
  CHECK(bytes[kBytes - 1] == std::byte{'x'});
}

void test_a_file_that_was_cut_short() {
  const pl::MappedFile file = map_file(size_t{1} << 20);
  CHECK_EQ(truncate(kPath, 100), 0);
  const pl::PageIn page_in({file.bytes()});
}

#endif

void test_any_part() {
  const pl::MappedFile file = map_file(100000);
  for (const size_t n : {size_t{0}, size_t{1}, size_t{4096}, size_t{100000}}) {
    for (int i = 0; i < 20; ++i) const pl::PageIn page_in({file.bytes().first(n), file.bytes().last(n), {}});  // gone at once
  }
  const pl::PageIn nothing({});
}

}  // namespace

int main() {
#if defined(__linux__)
  test_pages_are_there();
  test_a_file_that_was_cut_short();
#endif
  test_any_part();
  std::remove(kPath);
  return check_failures();
}

// Pages of a mapped file are there before anybody touches them; nothing happens to a file that has no such pages any more.
#include "../src/page_in.h"

#include <chrono>
#include <cstdint>
#include <cstdlib>
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

std::string write_file(size_t bytes) {
  const std::string path = "page_in_test.bin";
  std::ofstream(path, std::ios::binary) << std::string(bytes, 'x');
  return path;
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
bool possible(const std::string& path) {
  const pl::MappedFile file = pl::MappedFile::open(path, true);
  const std::byte* const data = file.bytes().data();
  const bool before = present(data) == 0;
  return madvise(const_cast<std::byte*>(data), static_cast<size_t>(sysconf(_SC_PAGESIZE)), 22) == 0 && before && present(data) == 1;
}

void test_pages_are_there() {
  constexpr size_t kBytes = size_t{9} << 20;  // more than two turns
  const std::string path = write_file(kBytes);
  if (!possible(path)) {
    std::fputs("pages cannot be populated here, or not be looked at: skipped\n", stderr);
    return;
  }
  const pl::MappedFile file = pl::MappedFile::open(path, true);
  const Part bytes = file.bytes();
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const pl::PageIn page_in({bytes.subspan(1, page), bytes.subspan(4 * page + 100)});
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  const std::byte* const last = bytes.data() + kBytes - page;
  while (present(last) == 0 && std::chrono::steady_clock::now() < end) std::this_thread::yield();
  for (size_t at = 5 * page; at < kBytes; at += page) CHECK_EQ(present(bytes.data() + at), 1);
  CHECK(bytes[kBytes - 1] == std::byte{'x'});
  unlink(path.c_str());
}

void test_a_file_that_was_cut_short() {
  const std::string path = write_file(size_t{1} << 20);
  const pl::MappedFile file = pl::MappedFile::open(path, true);
  CHECK_EQ(truncate(path.c_str(), 100), 0);
  { const pl::PageIn page_in({file.bytes()}); }
  unlink(path.c_str());
}

#endif

void test_any_part() {
  const std::string path = write_file(100000);
  const pl::MappedFile file = pl::MappedFile::open(path, true);
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
  return check_failures();
}

#include "memory.h"

#include <algorithm>
#include <cstdio>

#if defined(__linux__)
#include <sys/resource.h>
#include <unistd.h>
#endif

#include "error.h"

namespace pl {

uint64_t available_memory() {
  uint64_t available = UINT64_MAX;
#if defined(__linux__)
  if (std::FILE* f = std::fopen("/proc/meminfo", "r")) {
    char line[128];
    unsigned long long kib = 0;
    while (std::fgets(line, sizeof line, f)) {
      if (std::sscanf(line, "MemAvailable: %llu kB", &kib) == 1) available = kib * 1024;
    }
    std::fclose(f);
  }
  // What the process itself may have (prlimit --as) counts too.
  rlimit limit{};
  if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
    unsigned long long pages = 0;
    if (std::FILE* f = std::fopen("/proc/self/statm", "r")) {
      if (std::fscanf(f, "%llu", &pages) != 1) pages = 0;
      std::fclose(f);
    }
    const uint64_t used = pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
    const uint64_t most = limit.rlim_cur;
    available = std::min(available, most > used ? most - used : 0);
  }
#endif
  return available;
}

void expect_memory(uint64_t bytes, const std::string& what) {
  if (bytes > available_memory()) fail_memory(bytes, what);
}

void fail_memory(uint64_t bytes, const std::string& what) {
  fail(ErrorKind::kOutOfMemory, "%s needs %.1f MiB, %.1f MiB is available", what.c_str(),
       static_cast<double>(bytes) / 1048576, static_cast<double>(available_memory()) / 1048576);
}

}  // namespace pl

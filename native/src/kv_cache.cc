#include "kv_cache.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

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

uint64_t KvCache::bytes_needed(const Config& c, int64_t n_seqs, int64_t n_ctx, Type type) {
  // Callers may ask for any context: the product is held at what no machine has, and fits an int64_t still.
  uint64_t bytes = static_cast<uint64_t>(c.kv_dim() + c.v_dim()) * info(type).block_bytes;
  for (const int64_t factor : {c.n_layers, n_seqs, n_ctx}) {
    if (bytes > static_cast<uint64_t>(INT64_MAX) / static_cast<uint64_t>(std::max<int64_t>(factor, 1))) return INT64_MAX;
    bytes *= static_cast<uint64_t>(factor);
  }
  return bytes;
}

void KvCache::Free::operator()(std::byte* p) const { std::free(p); }

KvCache::KvCache(const Config& c, int64_t n_seqs, int64_t n_ctx, Type type)
    : n_seqs_(n_seqs), n_ctx_(n_ctx), type_(type), bytes_(bytes_needed(c, n_seqs, n_ctx, type)) {
  const int64_t element = info(type).block_bytes;
  key_bytes_ = c.kv_dim() * element, value_bytes_ = c.v_dim() * element;
  const uint64_t available = available_memory();
  if (bytes_ <= available && bytes_ < static_cast<uint64_t>(INT64_MAX)) {
    values_at_ = c.n_layers * n_seqs * n_ctx * key_bytes_;
    // calloc of this size maps zero pages, which cost nothing until they are written.
    data_.reset(static_cast<std::byte*>(std::calloc(bytes_, 1)));
  }
  if (!data_) {
    fail(ErrorKind::kOutOfMemory, "a context of %lld tokens needs %.1f MiB for its keys and values, %.1f MiB is available",
         static_cast<long long>(n_ctx * n_seqs), static_cast<double>(bytes_) / 1048576,
         static_cast<double>(available) / 1048576);
  }
}

}  // namespace pl

// How the probes read memory: as the kernels do, which go through several rows at once. One stream of lines reaches less of
// what memory gives than several (measured on an EPYC: three quarters). Sum is what an ISA adds lines up in.
// In a nameless namespace, compiled anew with each ISA's flags.
#pragma once

#include "probe.h"

namespace pl {
namespace {

template <class Sum>
uint64_t read_streams(const void* data, int64_t n, int streams, int64_t ahead) {
  const int64_t part = n / streams;
  Sum sum;
  for (const char *first = static_cast<const char*>(data), *const end = first + part; first < end; first += kProbeLine) {
    const char* line = first;
    for (int s = 0; s < streams; ++s, line += part) {
      if (ahead != 0) __builtin_prefetch(line + ahead);
      sum.add(line);
    }
  }
  return sum.fold();
}

}  // namespace
}  // namespace pl

// The generated Unicode tables; unicode.h and char_set.h give them meaning. All are sorted by their first
// member.
#pragma once

#include <cstdint>

namespace pl::unicode {

extern const char* const kVersion;  // the Unicode version, "16.0.0"

struct CodeRange {
  uint32_t first, last;
};

// first + i * stride becomes to + i * stride in lower case, up to last.
struct LowerRun {
  uint32_t first, last, stride, to;
};

// One step of canonical decomposition; second is 0 where there is none.
struct Decomposition {
  uint32_t code, first, second;
};

// Code points whose canonical combining class is not 0.
struct CombiningRun {
  uint32_t first, last, combining_class;
};

extern const uint32_t
    kCategories[];  // where a run of one general category begins: code point << 5 | category
extern const unsigned kCategories_count;
extern const CodeRange kHan[];
extern const unsigned kHan_count;
extern const LowerRun kLower[];
extern const unsigned kLower_count;
extern const Decomposition kDecompositions[];
extern const unsigned kDecompositions_count;
extern const CombiningRun kCombining[];
extern const unsigned kCombining_count;

}  // namespace pl::unicode

// A regular expression as a tree. The syntax is what tokenizers use of Oniguruma's, all of it Unicode-aware:
//   x|y  (…)  (?:…)  (?i:…)  (?=…)  (?!…)  [a-z]  [^…]  [[…]…]  […&&…]  .  ^  $  \b  \B
//   \s \S \d \D \w \W  \p{L} \P{L} \p{Han}  \r \n \t \x{1F600} \uFFFF  ? * + {m,n} and the possessive ?+ *+
//   ++
// Groups capture nothing; $ is the end, or before a newline. Anything else is an error.
#pragma once

#include <string_view>
#include <vector>

#include "char_set.h"

namespace pl::unicode {

struct Node {
  enum Kind {
    kSet,          // one code point of `set`
    kSequence,     // `parts` one after the other; none: the empty string
    kAlternation,  // the first of `parts` that lets the whole match
    kRepeat,       // parts[0], `min` to `max` times, as often as possible
    kLook,         // parts[0] follows (or, `negative`, does not)
    kLineStart,
    kLineEnd,
    kWordBoundary,  // or, `negative`, none
  };
  static constexpr unsigned kNoLimit = ~0u;

  Kind kind = kSequence;
  CharSet set = {};
  std::vector<Node> parts = {};
  unsigned min = 0, max = 0;
  bool possessive = false;
  bool negative = false;
};

// Throws Error(kInternal) that names the pattern and the place: patterns are the library's own.
Node parse_regex(std::string_view pattern);

// Whether the node can match without consuming anything, and a set that holds every first code point it can
// consume.
bool is_nullable(const Node& node);
CharSet first_set(const Node& node);

}  // namespace pl::unicode

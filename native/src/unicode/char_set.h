// Sets of code points: as ranges while a pattern is read, as bitmaps while text is matched.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "unicode.h"

namespace pl::unicode {

class CharSet {
 public:
  CharSet() = default;
  CharSet(char32_t first, char32_t last) : ranges_{{first, last}} {}

  // The members of any category in `mask` (1 << Category).
  static CharSet of_categories(uint32_t mask);
  // What \p{name} means: a category ("Lu"), a class of them ("L") or a script ("Han"). False for another
  // name.
  static bool named(std::string_view name, CharSet& out);
  static CharSet white_space();
  static CharSet word();  // \w

  void add(const CharSet& other);
  CharSet complement() const;
  CharSet intersection(const CharSet& other) const;
  bool contains(char32_t c) const;
  bool empty() const { return ranges_.empty(); }
  // Adds the other cases of the set's letters: simple case folding of ASCII, which includes U+017F and
  // U+212A.
  void add_other_cases();

  struct Range {
    char32_t first, last;
  };
  const std::vector<Range>& ranges() const { return ranges_; }

 private:
  std::vector<Range> ranges_;  // sorted, disjoint and not adjacent
};

// The same set with a constant-time lookup: blocks of 256 code points, equal ones stored once.
class CharBitmap {
 public:
  explicit CharBitmap(const CharSet& set);
  bool contains(char32_t c) const {
    if (c > kMax) c = kReplacement;
    return blocks_[block_of_[c >> 8] * 8u + (c >> 5 & 7)] >> (c & 31) & 1;
  }

 private:
  std::vector<uint16_t> block_of_;
  std::vector<uint32_t> blocks_;  // 8 words a block
};

}  // namespace pl::unicode

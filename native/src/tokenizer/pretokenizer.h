// How byte-level BPE models cut text into words before they merge within each: one row of a table for every
// name that `tokenizer.ggml.pre` is known to have.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "../unicode/regex.h"

namespace pl {

// What else than the cuts goes with a name.
struct PretokenizerTraits {
  bool whole_words = false;  // a word that is a token as it stands is not merged ("ignore_merges")
  bool add_bos = false;      // unless the file says otherwise
  bool bytes =
      true;  // false: tokens are UTF-8 with U+2581 for spaces, and unknown characters fall back to bytes
};

class Pretokenizer {
 public:
  // Fails with kUnsupported, listing the names that are known, for any other.
  explicit Pretokenizer(std::string_view name);

  // The traits that go with a name; fails as the constructor does.
  static const PretokenizerTraits& traits(std::string_view name);
  const PretokenizerTraits& traits() const { return traits_; }
  // Where each word of the text ends, in code points; the last is text.size(). None is empty.
  std::vector<size_t> split(std::span<const char32_t> text) const;

 private:
  // One pass over all pieces that the passes before it left.
  struct Pass {
    std::optional<unicode::Regex> regex;
    char threes = 0;  // without a regex: which way digits are grouped by three
  };
  PretokenizerTraits traits_;
  std::vector<Pass> passes_;
};

}  // namespace pl

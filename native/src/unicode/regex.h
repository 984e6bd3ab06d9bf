// Compiled regular expressions (see regex_syntax.h) that split text: leftmost matches, the first alternative
// that fits, as Perl and Oniguruma have it.
//
// A backtracking matcher with a bound. It counts its steps; once they exceed a multiple of the text's length,
// it remembers which states failed at which position and never tries one of those again, so that the time is
// linear in the text whatever the text. (A lookahead that succeeds at every position after reading far is
// outside that proof; no pattern of ours has one, and such a run ends in an error.)
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "char_set.h"
#include "regex_syntax.h"

namespace pl::unicode {

class Regex {
 public:
  explicit Regex(std::string_view pattern);

  // Cuts text[begin, end) at the beginning and the end of every match (empty matches do not count) and
  // appends where each piece ends. What is outside [begin, end) is not looked at.
  void split(std::span<const char32_t> text, size_t begin, size_t end, std::vector<size_t>& ends) const;

 private:
  struct Instruction {
    enum Op : uint8_t {
      kSet, kLoop, kSplit, kJump, kLook, kAtomic, kLineStart, kLineEnd, kBoundary, kAccept,
    } op;
    bool negative = false;    // kLook, kBoundary
    bool possessive = false;  // kLoop: never gives anything back
    uint16_t set = 0;         // kSet, kLoop
    // kLoop: min, max; kSplit: first and second choice; kJump: where to; kLook, kAtomic: what comes after
    // their kAccept.
    uint32_t a = 0, b = 0;
    uint32_t memo = 0;  // kSplit, kLoop: which row of the memory of failures
  };
  struct Alternative {
    uint32_t start;
    bool nullable;
    uint16_t first;  // set of code points that it can begin with
  };
  class Run;

  void compile(const Node& node);
  void compile_repeat(const Node& node);
  void compile_alternation(std::span<const Node> parts);
  uint32_t emit(Instruction instruction);
  uint16_t set_index(const CharSet& set);
  void make_loops_possessive();

  std::vector<Instruction> program_;
  std::vector<CharSet> sets_;  // while compiling
  std::vector<CharBitmap> bitmaps_;
  std::vector<Alternative> alternatives_;
  uint64_t ascii_first_[128] = {};  // the alternatives that may begin with this character
  uint16_t word_set_ = 0;           // \w, for kBoundary
  uint32_t n_memo_ = 0;
};

}  // namespace pl::unicode

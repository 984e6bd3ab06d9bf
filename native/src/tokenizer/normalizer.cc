#include "normalizer.h"

#include <algorithm>
#include <cstring>

#include "../error.h"
#include "../unicode/unicode.h"

namespace pl {

namespace {

// Bytes of the text that a damaged map, which may run in circles, can ask for. Real ones look at a few
// characters.
constexpr size_t kLongestKey = 256;
constexpr size_t kLongestReplacement = 256;

// A unit of the double array: the label (bits 0–7), whether a value follows (8), where the children are
// (10–30, to be shifted by 8 more if bit 9 is set); a value is the unit with bit 31.
bool has_value(uint32_t unit) { return (unit >> 8 & 1) != 0; }
uint32_t label(uint32_t unit) { return unit & 0x800000FFu; }
size_t offset(uint32_t unit) { return size_t{unit >> 10} << ((unit & 0x200u) >> 6); }

}  // namespace

Normalizer::Normalizer(const VocabData& data, const Vocab& vocab)
    : add_prefix_(vocab.add_space_prefix),
      trim_(data.remove_extra_whitespaces.value_or(vocab.kind() == VocabKind::kUnigram)) {
  const std::string& map = data.precompiled_charsmap;
  if (map.empty()) return;
  uint32_t size = 0;
  if (map.size() >= sizeof size) std::memcpy(&size, map.data(), sizeof size);
  if (map.size() < sizeof size || size % 4 != 0 || size > map.size() - sizeof size || size == 0 ||
      map.back() != '\0') {
    fail(ErrorKind::kInvalidModel, "precompiled_charsmap has %zu bytes and says that %u of them are its trie",
         map.size(), size);
  }
  units_.resize(size / 4);
  std::memcpy(units_.data(), map.data() + sizeof size, size);
  texts_ = map.substr(sizeof size + size);
}

// What the longest beginning of `text` that the map knows becomes, or its first character.
std::string_view Normalizer::replacement(std::string_view text, size_t& length) const {
  length = 0;
  uint32_t found = 0;
  if (!units_.empty()) {
    size_t at = offset(units_[0]);
    for (size_t i = 0; i < std::min(text.size(), kLongestKey); i++) {
      const auto byte = static_cast<unsigned char>(text[i]);
      at ^= byte;
      if (at >= units_.size() || label(units_[at]) != byte) break;
      const uint32_t unit = units_[at];
      at ^= offset(unit);
      if (has_value(unit) && at < units_.size()) {
        length = i + 1;
        found = units_[at] & 0x7FFFFFFFu;
      }
    }
  }
  if (length == 0) {
    unicode::decode(text, length);
    return text.substr(0, length);
  }
  // What a damaged map leads to, or one that would blow the text up, is no replacement.
  if (found >= texts_.size()) return text.substr(0, length);
  const std::string_view rest = std::string_view(texts_).substr(found, kLongestReplacement + 1);
  const size_t end = rest.find('\0');
  return end == rest.npos ? text.substr(0, length) : rest.substr(0, end);
}

std::string Normalizer::normalize(std::string_view text, bool prefix) const {
  std::string out;
  out.reserve(text.size() + 1);
  if (prefix && add_prefix_) out.push_back(' ');
  const size_t start = out.size();
  bool after_space = trim_;
  for (size_t length = 0; !text.empty(); text.remove_prefix(length)) {
    std::string_view part = replacement(text, length);
    while (after_space && !part.empty() && part[0] == ' ') part.remove_prefix(1);
    if (part.empty()) continue;
    after_space = trim_ && part.back() == ' ';
    out += part == kSpaceMark ? " " : part;  // not before: the mark itself is no space that is dropped
  }
  if (trim_) {
    while (out.size() > start && out.back() == ' ') out.pop_back();
    if (out.size() == start) out.clear();
  }
  return out;
}

}  // namespace pl

// Code points: to and from UTF-8, their general category, lower case and decomposition. Unicode 16.0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pl::unicode {

enum Category : uint8_t {
  kLu, kLl, kLt, kLm, kLo, kMn, kMc, kMe, kNd, kNl, kNo, kPc, kPd, kPs, kPe, kPi, kPf, kPo, kSm, kSc, kSk, kSo,
  kZs, kZl, kZp, kCc, kCf, kCs, kCo, kCn, kCategoryCount,
};

constexpr char32_t kReplacement = 0xFFFD;
constexpr char32_t kMax = 0x10FFFF;

// A byte that is no part of valid UTF-8 decodes as kInvalidByte + its value, one code point per byte. Every
// property of such a code point is U+FFFD's, so text is split at the same places every time and no byte of it
// is lost.
constexpr char32_t kInvalidByte = 0x110000;

// The first code point of `text` (which is not empty); its length in bytes goes to `length`.
char32_t decode(std::string_view text, size_t& length);
std::vector<char32_t> decode(std::string_view text);

// How many bytes a code point took: 1 to 4.
inline size_t utf8_length(char32_t c) {
  return c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : c < kInvalidByte ? 4 : 1;
}

// Appends a code point as UTF-8; a kInvalidByte code point as U+FFFD.
void append_utf8(std::string& out, char32_t c);

Category category(char32_t c);
bool is_white_space(char32_t c);  // the White_Space property
bool is_punctuation(char32_t c);  // any P category, or ASCII that is printed and not alphanumeric

// Lower case, code point by code point and whatever the language: U+0130 alone becomes two.
void append_lower(std::vector<char32_t>& out, char32_t c);
// Canonical decomposition (NFD).
std::vector<char32_t> decompose(const std::vector<char32_t>& text);

}  // namespace pl::unicode

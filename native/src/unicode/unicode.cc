#include "unicode.h"

#include <algorithm>

#include "tables.h"

namespace pl::unicode {

namespace {

constexpr char32_t kHangulBase = 0xAC00, kHangulCount = 11172, kHangulT = 28, kHangulVT = 21 * 28;

bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

// The row of a sorted table that holds c, if one does: rows have `first` and `last`.
template <typename Row>
const Row* find_run(const Row* rows, unsigned count, char32_t c) {
  const Row* end = rows + count;
  const Row* after =
      std::upper_bound(rows, end, c, [](char32_t value, const Row& row) { return value < row.first; });
  if (after == rows) return nullptr;
  return c <= after[-1].last ? after - 1 : nullptr;
}

unsigned combining_class(char32_t c) {
  const CombiningRun* run = c < 0x300 ? nullptr : find_run(kCombining, kCombining_count, c);
  return run == nullptr ? 0 : run->combining_class;
}

void append_decomposed(std::vector<char32_t>& out, char32_t c) {
  if (c < 0xC0 || c > kMax) return out.push_back(c);
  if (c >= kHangulBase && c < kHangulBase + kHangulCount) {
    const char32_t s = c - kHangulBase;
    out.push_back(0x1100 + s / kHangulVT);
    out.push_back(0x1161 + s % kHangulVT / kHangulT);
    if (s % kHangulT != 0) out.push_back(0x11A7 + s % kHangulT);
    return;
  }
  const Decomposition* end = kDecompositions + kDecompositions_count;
  const Decomposition* row = std::lower_bound(
      kDecompositions, end, c, [](const Decomposition& one, char32_t value) { return one.code < value; });
  if (row == end || row->code != c) return out.push_back(c);
  append_decomposed(out, row->first);
  if (row->second != 0) append_decomposed(out, row->second);
}

}  // namespace

char32_t decode(std::string_view text, size_t& length) {
  const auto byte = [&](size_t i) { return static_cast<char32_t>(static_cast<unsigned char>(text[i])); };
  const char32_t lead = byte(0);
  length = 1;
  if (lead < 0x80) return lead;
  const size_t size = text.size();
  if (lead >= 0xC2 && lead < 0xE0) {
    if (size >= 2 && is_continuation(text[1])) {
      length = 2;
      return (lead & 0x1F) << 6 | (byte(1) & 0x3F);
    }
  } else if (lead >= 0xE0 && lead < 0xF0) {
    if (size >= 3 && is_continuation(text[1]) && is_continuation(text[2])) {
      const char32_t c = (lead & 0xF) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
      if (c >= 0x800 && (c < 0xD800 || c > 0xDFFF)) {
        length = 3;
        return c;
      }
    }
  } else if (lead >= 0xF0 && lead < 0xF5) {
    if (size >= 4 && is_continuation(text[1]) && is_continuation(text[2]) && is_continuation(text[3])) {
      const char32_t c = (lead & 7) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F);
      if (c >= 0x10000 && c <= kMax) {
        length = 4;
        return c;
      }
    }
  }
  return kInvalidByte + lead;
}

std::vector<char32_t> decode(std::string_view text) {
  std::vector<char32_t> out;
  out.reserve(text.size());
  for (size_t i = 0, length = 0; i < text.size(); i += length) out.push_back(decode(text.substr(i), length));
  return out;
}

void append_utf8(std::string& out, char32_t c) {
  const auto put = [&](char32_t byte) { out.push_back(static_cast<char>(static_cast<unsigned char>(byte))); };
  if (c > kMax) c = kReplacement;
  if (c < 0x80) return put(c);
  if (c < 0x800) {
    put(0xC0 | c >> 6);
  } else {
    if (c < 0x10000) {
      put(0xE0 | c >> 12);
    } else {
      put(0xF0 | c >> 18);
      put(0x80 | (c >> 12 & 0x3F));
    }
    put(0x80 | (c >> 6 & 0x3F));
  }
  put(0x80 | (c & 0x3F));
}

Category category(char32_t c) {
  if (c > kMax) c = kReplacement;
  const uint32_t* end = kCategories + kCategories_count;
  const uint32_t* after = std::upper_bound(kCategories, end, static_cast<uint32_t>(c) << 5 | 31);
  return static_cast<Category>(after[-1] & 31);
}

bool is_white_space(char32_t c) {
  if (c < 0x80) return (c >= 9 && c <= 13) || c == ' ';
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_punctuation(char32_t c) {
  if (c < 0x80) {
    return (c >= 0x21 && c <= 0x2F) || (c >= 0x3A && c <= 0x40) || (c >= 0x5B && c <= 0x60) ||
           (c >= 0x7B && c <= 0x7E);
  }
  const Category is = category(c);
  return is >= kPc && is <= kPo;
}

void append_lower(std::vector<char32_t>& out, char32_t c) {
  if (c < 0x80) return out.push_back(c >= 'A' && c <= 'Z' ? c + 0x20 : c);
  if (c == 0x130) {
    out.push_back('i');
    return out.push_back(0x307);
  }
  // Runs may interleave (one of every second code point, another between): a run's holes belong to the next
  // one.
  for (unsigned i = 0; i < kLower_count && kLower[i].first <= c; i++) {
    const LowerRun& run = kLower[i];
    if (c <= run.last && (c - run.first) % run.stride == 0) return out.push_back(run.to + (c - run.first));
  }
  out.push_back(c);
}

std::vector<char32_t> decompose(const std::vector<char32_t>& text) {
  std::vector<char32_t> out;
  out.reserve(text.size());
  for (const char32_t c : text) append_decomposed(out, c);
  // Canonical order: marks that follow each other are sorted by their class, equal ones staying in order.
  for (size_t i = 0; i < out.size(); i++) {
    if (combining_class(out[i]) == 0) continue;
    size_t end = i + 1;
    while (end < out.size() && combining_class(out[end]) != 0) end++;
    std::stable_sort(out.begin() + static_cast<ptrdiff_t>(i), out.begin() + static_cast<ptrdiff_t>(end),
                     [](char32_t a, char32_t b) { return combining_class(a) < combining_class(b); });
    i = end - 1;
  }
  return out;
}

}  // namespace pl::unicode

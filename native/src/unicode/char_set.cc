#include "char_set.h"

#include <algorithm>
#include <array>
#include <map>

#include "tables.h"

namespace pl::unicode {

namespace {

struct Name {
  std::string_view name;
  uint32_t mask;
};

constexpr uint32_t bits(unsigned first, unsigned last) { return (2u << last) - (1u << first); }

constexpr Name kNames[] = {
    {"L", bits(kLu, kLo)},  {"M", bits(kMn, kMe)},  {"N", bits(kNd, kNo)},  {"P", bits(kPc, kPo)},
    {"S", bits(kSm, kSo)},  {"Z", bits(kZs, kZp)},  {"C", bits(kCc, kCn)},  {"Lu", bits(kLu, kLu)},
    {"Ll", bits(kLl, kLl)}, {"Lt", bits(kLt, kLt)}, {"Lm", bits(kLm, kLm)}, {"Lo", bits(kLo, kLo)},
    {"Mn", bits(kMn, kMn)}, {"Mc", bits(kMc, kMc)}, {"Me", bits(kMe, kMe)}, {"Nd", bits(kNd, kNd)},
    {"Nl", bits(kNl, kNl)}, {"No", bits(kNo, kNo)}, {"Pc", bits(kPc, kPc)}, {"Pd", bits(kPd, kPd)},
    {"Ps", bits(kPs, kPs)}, {"Pe", bits(kPe, kPe)}, {"Pi", bits(kPi, kPi)}, {"Pf", bits(kPf, kPf)},
    {"Po", bits(kPo, kPo)}, {"Sm", bits(kSm, kSm)}, {"Sc", bits(kSc, kSc)}, {"Sk", bits(kSk, kSk)},
    {"So", bits(kSo, kSo)}, {"Zs", bits(kZs, kZs)}, {"Zl", bits(kZl, kZl)}, {"Zp", bits(kZp, kZp)},
    {"Cc", bits(kCc, kCc)}, {"Cf", bits(kCf, kCf)}, {"Cs", bits(kCs, kCs)}, {"Co", bits(kCo, kCo)},
    {"Cn", bits(kCn, kCn)},
};

}  // namespace

CharSet CharSet::of_categories(uint32_t mask) {
  CharSet set;
  for (unsigned i = 0; i < kCategories_count; i++) {
    if ((mask >> (kCategories[i] & 31) & 1) == 0) continue;
    const char32_t first = kCategories[i] >> 5;
    const char32_t last = i + 1 < kCategories_count ? (kCategories[i + 1] >> 5) - 1 : kMax;
    if (!set.ranges_.empty() && set.ranges_.back().last + 1 == first) {
      set.ranges_.back().last = last;
    } else {
      set.ranges_.push_back({first, last});
    }
  }
  return set;
}

bool CharSet::named(std::string_view name, CharSet& out) {
  for (const Name& known : kNames) {
    if (known.name == name) {
      out = of_categories(known.mask);
      return true;
    }
  }
  if (name != "Han") return false;
  out = CharSet();
  for (unsigned i = 0; i < kHan_count; i++) out.ranges_.push_back({kHan[i].first, kHan[i].last});
  return true;
}

CharSet CharSet::white_space() {
  CharSet set;
  for (char32_t c = 0; c <= 0x3000; c++) {
    if (is_white_space(c)) set.add(CharSet(c, c));
  }
  return set;
}

CharSet CharSet::word() {
  CharSet set = of_categories(bits(kLu, kLo) | bits(kMn, kMe) | bits(kNd, kNl) | bits(kPc, kPc));
  // Alphabetic symbols, and the Latin-1 numbers that Oniguruma takes for words' characters.
  for (const Range& r : {Range{0xB2, 0xB3}, Range{0xB9, 0xB9}, Range{0xBC, 0xBE}, Range{0x24B6, 0x24E9},
                         Range{0x1F130, 0x1F149}, Range{0x1F150, 0x1F169}, Range{0x1F170, 0x1F189}}) {
    set.add(CharSet(r.first, r.last));
  }
  return set;
}

void CharSet::add(const CharSet& other) {
  std::vector<Range> all = ranges_;
  all.insert(all.end(), other.ranges_.begin(), other.ranges_.end());
  std::sort(all.begin(), all.end(), [](const Range& a, const Range& b) { return a.first < b.first; });
  ranges_.clear();
  for (const Range& r : all) {
    if (!ranges_.empty() && r.first <= ranges_.back().last + 1) {
      ranges_.back().last = std::max(ranges_.back().last, r.last);
    } else {
      ranges_.push_back(r);
    }
  }
}

CharSet CharSet::complement() const {
  CharSet out;
  char32_t next = 0;
  for (const Range& r : ranges_) {
    if (r.first > next) out.ranges_.push_back({next, r.first - 1});
    next = r.last + 1;
  }
  if (next <= kMax) out.ranges_.push_back({next, kMax});
  return out;
}

CharSet CharSet::intersection(const CharSet& other) const {
  CharSet out;
  for (size_t i = 0, j = 0; i < ranges_.size() && j < other.ranges_.size();) {
    const Range &a = ranges_[i], &b = other.ranges_[j];
    const char32_t first = std::max(a.first, b.first), last = std::min(a.last, b.last);
    if (first <= last) out.ranges_.push_back({first, last});
    if (a.last < b.last) {
      i++;
    } else {
      j++;
    }
  }
  return out;
}

bool CharSet::contains(char32_t c) const {
  const auto after = std::upper_bound(ranges_.begin(), ranges_.end(), c,
                                      [](char32_t value, const Range& r) { return value < r.first; });
  return after != ranges_.begin() && c <= after[-1].last;
}

void CharSet::add_other_cases() {
  CharSet more;
  for (char32_t upper = 'A'; upper <= 'Z'; upper++) {
    CharSet cases(upper, upper);
    cases.add(CharSet(upper + 0x20, upper + 0x20));
    if (upper == 'S') cases.add(CharSet(0x17F, 0x17F));
    if (upper == 'K') cases.add(CharSet(0x212A, 0x212A));
    if (!intersection(cases).empty()) more.add(cases);
  }
  add(more);
}

CharBitmap::CharBitmap(const CharSet& set) {
  constexpr size_t kBlocks = (kMax + 1) >> 8;
  using Block = std::array<uint32_t, 8>;
  std::vector<Block> flat(kBlocks, Block{});
  for (const CharSet::Range& r : set.ranges()) {
    for (char32_t c = r.first; c <= r.last;) {
      if ((c & 31) == 0 && r.last - c >= 31) {
        flat[c >> 8][c >> 5 & 7] = ~0u;
        c += 32;
      } else {
        flat[c >> 8][c >> 5 & 7] |= 1u << (c & 31);
        c++;
      }
    }
  }
  std::map<Block, uint16_t> seen;
  block_of_.reserve(kBlocks);
  for (const Block& block : flat) {
    const auto [entry, is_new] = seen.emplace(block, static_cast<uint16_t>(seen.size()));
    if (is_new) blocks_.insert(blocks_.end(), block.begin(), block.end());
    block_of_.push_back(entry->second);
  }
}

}  // namespace pl::unicode

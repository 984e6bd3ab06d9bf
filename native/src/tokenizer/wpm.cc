// BERT's WordPiece: text is cleaned, cut at spaces and punctuation, and each word covered from its start by
// the longest token that fits. GGUF writes tokens that begin a word with U+2581 before them, and those that
// go on ("##ing") bare.
#include <algorithm>

#include "../unicode/unicode.h"
#include "model.h"

namespace pl {

namespace {

constexpr size_t kLongestWord = 100;  // code points; longer words are unknown

bool is_cjk(char32_t c) {
  // 2B920, not 2B820: the slip of the pen that all BERT tokenizers share.
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
         (c >= 0x2A700 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) || (c >= 0xF900 && c <= 0xFAFF) ||
         (c >= 0x2F800 && c <= 0x2FA1F);
}

// Control and format characters and the like, which are dropped.
bool is_dropped(char32_t c) {
  if (c == 0 || c >= unicode::kInvalidByte || c == unicode::kReplacement) return true;
  if (c == '\t' || c == '\n' || c == '\r') return false;
  const unicode::Category is = unicode::category(c);
  return is == unicode::kCc || is == unicode::kCf || is == unicode::kCo;
}

class Wpm : public TokenModel {
 public:
  Wpm(const VocabData& data, const Vocab& vocab)
      : vocab_(vocab),
        lowercase_(data.lowercase.value_or(true)),
        strip_accents_(data.strip_accents.value_or(lowercase_)) {}

  void encode(std::string_view text, bool, std::vector<int32_t>& ids) const override {
    std::vector<char32_t> codes;
    for (const char32_t c : unicode::decode(text)) {
      if (is_dropped(c)) continue;
      const bool apart = is_cjk(c);
      if (apart) codes.push_back(' ');
      codes.push_back(unicode::is_white_space(c) ? ' ' : c);
      if (apart) codes.push_back(' ');
    }
    if (strip_accents_) {
      codes = unicode::decompose(codes);
      std::erase_if(codes, [](char32_t c) { return c >= 0x300 && unicode::category(c) == unicode::kMn; });
    }
    if (lowercase_) {
      std::vector<char32_t> lower;
      lower.reserve(codes.size());
      for (const char32_t c : codes) unicode::append_lower(lower, c);
      codes.swap(lower);
    }
    size_t begin = 0;
    for (size_t i = 0; i <= codes.size(); i++) {
      const bool space = i == codes.size() || codes[i] == ' ';
      const bool mark = !space && unicode::is_punctuation(codes[i]);
      if (!space && !mark) continue;
      encode_word({codes.data() + begin, i - begin}, ids);
      if (mark) encode_word({codes.data() + i, 1}, ids);
      begin = i + 1;
    }
  }

 private:
  void encode_word(std::span<const char32_t> word, std::vector<int32_t>& ids) const {
    if (word.empty()) return;
    std::string text = " ";
    std::vector<size_t> ends{1};  // where each character ends, and before the first of them
    const size_t known = ids.size();
    if (word.size() <= kLongestWord) {
      for (const char32_t c : word) {
        unicode::append_utf8(text, c);
        ends.push_back(text.size());
      }
      for (size_t from = 0, begin = 0; from + 1 < ends.size();) {
        size_t to = ends.size() - 1;
        int32_t id = -1;
        for (; to > from; to--) {
          const size_t length = ends[to] - begin;
          if (length > vocab_.longest()) continue;
          id = vocab_.find(std::string_view(text).substr(begin, length));
          if (id >= 0) break;
        }
        if (id < 0) {
          ids.resize(known);
          break;
        }
        ids.push_back(id);
        from = to;
        begin = ends[to];
      }
    }
    if (ids.size() == known && vocab_.unk >= 0) ids.push_back(vocab_.unk);
  }

  const Vocab& vocab_;
  bool lowercase_, strip_accents_;
};

}  // namespace

std::unique_ptr<TokenModel> make_wpm(const VocabData& data, const Vocab& vocab) {
  return std::make_unique<Wpm>(data, vocab);
}

}  // namespace pl

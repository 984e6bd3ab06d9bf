// sentencepiece's BPE: of all neighbours that together are a token, the one with the highest score merges
// first. What no token covers becomes byte tokens, or the unknown token.
#include <algorithm>
#include <unordered_map>

#include "../unicode/unicode.h"
#include "merge.h"
#include "model.h"
#include "normalizer.h"

namespace pl {

namespace {

// Which characters stand beside each other in any token. Where two that never do meet in a text, nothing
// merges across them, so that the text falls into short words. A hash without collision checks: a wrong yes
// only makes a word longer.
class Neighbours {
 public:
  void add(char32_t left, char32_t right) { word(left, right) |= uint64_t{1} << (hash(left, right) & 63); }
  bool maybe(char32_t left, char32_t right) const {
    return bits_[hash(left, right) >> 6] >> (hash(left, right) & 63) & 1;
  }

 private:
  static constexpr size_t kBits = size_t{1} << 20;
  static size_t hash(char32_t left, char32_t right) {
    return (uint64_t{left} << 21 | right) * 0x9E3779B97F4A7C15u >> 44;
  }
  uint64_t& word(char32_t left, char32_t right) { return bits_[hash(left, right) >> 6]; }
  std::vector<uint64_t> bits_ = std::vector<uint64_t>(kBits / 64);
};

class Spm : public TokenModel {
 public:
  Spm(const VocabData& data, const Vocab& vocab) : vocab_(vocab), normalizer_(data, vocab) {
    // Equal scores are equal ranks: of those the leftmost merges first.
    std::vector<float> scores = data.scores;
    std::sort(scores.begin(), scores.end(), std::greater<float>());
    scores.erase(std::unique(scores.begin(), scores.end()), scores.end());
    ranks_.assign(data.tokens.size(), 0);
    for (size_t i = 0; i < data.scores.size(); i++) {
      const auto place =
          std::lower_bound(scores.begin(), scores.end(), data.scores[i], std::greater<float>());
      ranks_[i] = static_cast<uint32_t>(place - scores.begin());
    }
    for (int32_t id = 0; id < vocab.size(); id++) {
      has_unused_ |= vocab.type(id) == TokenType::kUnused;
      const std::string_view piece = vocab.piece(id);
      char32_t last = 0;
      for (size_t i = 0, length = 0; i < piece.size(); i += length) {
        const char32_t c = unicode::decode(piece.substr(i), length);
        if (i > 0) neighbours_.add(last, c);
        last = c;
      }
    }
  }

  void encode(std::string_view raw, bool first, std::vector<int32_t>& ids) const override {
    const std::string text = normalizer_.normalize(raw, first);
    Session session{.text = text, .ids = ids, .start = ids.size()};
    std::vector<Symbol> symbols;
    size_t begin = 0;
    char32_t last = 0;
    for (size_t i = 0, length = 0; i < text.size(); i += length) {
      const char32_t c = unicode::decode(std::string_view(text).substr(i), length);
      if (i > begin && !neighbours_.maybe(last, c)) {
        encode_word(session, std::string_view(text).substr(begin, i - begin), symbols);
        symbols.clear();
        begin = i;
      }
      symbols.push_back({static_cast<uint32_t>(i), static_cast<uint32_t>(length), 0});
      last = c;
    }
    if (!symbols.empty()) encode_word(session, std::string_view(text).substr(begin), symbols);
  }

 private:
  // One call of encode().
  struct Session {
    std::string_view text;
    std::vector<int32_t>& ids;
    size_t start;  // ids of this text begin here
    Merger merger = {};
    WordCache cache = {};
    std::vector<int32_t> word = {};
    std::unordered_map<std::string_view, size_t> unused =
        {};  // unused tokens met → the length of their left half
  };

  void encode_word(Session& session, std::string_view word, std::vector<Symbol>& symbols) const {
    const std::vector<int32_t>* known = session.cache.find(word);
    if (known == nullptr) {
      merge_word(session, symbols);
      session.cache.add(word, session.word.data(), session.word.size());
      known = &session.word;
    }
    for (const int32_t id : *known) {
      // Unknown characters that follow each other are one unknown token.
      const bool again = id == vocab_.unk && session.ids.size() > session.start && session.ids.back() == id;
      if (!again) session.ids.push_back(id);
    }
  }

  void merge_word(Session& session, std::vector<Symbol>& symbols) const {
    session.merger.merge(symbols, [&](const Symbol& left, const Symbol& right) -> Merged {
      const size_t length = size_t{left.length} + right.length;
      if (length > vocab_.longest()) return {};
      const std::string_view both = session.text.substr(left.begin, length);
      const int32_t id = vocab_.find(both);
      if (id < 0) return {};
      if (vocab_.type(id) == TokenType::kUnused) session.unused[both] = left.length;
      return {ranks_[static_cast<size_t>(id)], id};
    });
    session.word.clear();
    for (const Symbol& symbol : symbols) add_piece(session, session.text.substr(symbol.begin, symbol.length));
  }

  // Unused tokens help to merge, but are taken apart again in the end, as they were put together.
  void add_piece(Session& session, std::string_view piece) const {
    std::vector<std::string_view> pending{piece};
    while (!pending.empty()) {
      const std::string_view now = pending.back();
      pending.pop_back();
      const int32_t id = vocab_.find(now);
      if (has_unused_ && id >= 0 && vocab_.type(id) == TokenType::kUnused) {
        if (const auto halves = session.unused.find(now); halves != session.unused.end()) {
          pending.push_back(now.substr(halves->second));
          pending.push_back(now.substr(0, halves->second));
          continue;
        }
      }
      if (id >= 0) {
        session.word.push_back(id);
      } else if (vocab_.has_byte_tokens()) {
        for (const char c : now == " " ? kSpaceMark : now) add_byte(session, static_cast<unsigned char>(c));
      } else if (vocab_.unk >= 0) {
        session.word.push_back(vocab_.unk);
      }
    }
  }

  void add_byte(Session& session, unsigned char byte) const {
    const int32_t id = vocab_.byte_token(byte) >= 0 ? vocab_.byte_token(byte) : vocab_.unk;
    if (id >= 0) session.word.push_back(id);
  }

  const Vocab& vocab_;
  Normalizer normalizer_;
  Neighbours neighbours_;
  std::vector<uint32_t> ranks_;
  bool has_unused_ = false;
};

}  // namespace

std::unique_ptr<TokenModel> make_spm(const VocabData& data, const Vocab& vocab) {
  return std::make_unique<Spm>(data, vocab);
}

}  // namespace pl

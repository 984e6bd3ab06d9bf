// sentencepiece's unigram model: of all sequences of tokens that make up the text, the one with the highest
// sum of scores.
#include <algorithm>

#include "../error.h"
#include "../unicode/unicode.h"
#include "model.h"
#include "normalizer.h"
#include "prefix_trie.h"

namespace pl {

namespace {

// Of the lowest score below which an unknown character's lies, as sentencepiece has it.
constexpr float kUnknownPenalty = 10.0f;
constexpr size_t kLongestToken = 1024;  // bytes: bounds the time per character
constexpr size_t kMostBytes = size_t{64} << 20;

class Unigram : public TokenModel {
 public:
  Unigram(const VocabData& data, const Vocab& vocab)
      : vocab_(vocab), normalizer_(data, vocab), scores_(data.scores) {
    if (scores_.empty()) fail(ErrorKind::kInvalidModel, "tokenizer.ggml.scores is missing");
    std::vector<PrefixTrie::Entry> entries;
    float lowest = 0, highest = 0;
    bool any = false;
    size_t bytes = 0;
    for (int32_t id = 0; id < vocab.size(); id++) {
      const TokenType type = vocab.type(id);
      if (type == TokenType::kNormal) {
        const float score = scores_[static_cast<size_t>(id)];
        lowest = any ? std::min(lowest, score) : score;
        highest = any ? std::max(highest, score) : score;
        any = true;
      }
      if (type != TokenType::kNormal && type != TokenType::kUserDefined) continue;
      bytes += vocab.piece(id).size();
      if (vocab.piece(id).size() > kLongestToken || bytes > kMostBytes) {
        fail(ErrorKind::kUnsupported, "the vocabulary's tokens are too long: %zu bytes in one and %zu in all",
             vocab.piece(id).size(), bytes);
      }
      if (!vocab.piece(id).empty()) entries.push_back({vocab.piece(id), id});
    }
    for (int32_t id = 0; id < vocab.size(); id++) {
      if (vocab.type(id) != TokenType::kUserDefined) continue;
      scores_[static_cast<size_t>(id)] = static_cast<float>(vocab.piece(id).size()) * highest - 0.1f;
    }
    unknown_score_ = lowest - kUnknownPenalty;
    trie_ = PrefixTrie(std::move(entries));
  }

  void encode(std::string_view raw, bool first, std::vector<int32_t>& ids) const override {
    const std::string text = normalizer_.normalize(raw, first);
    struct Best {
      float score = 0;
      size_t begin = 0;
      int32_t id = kNotReached;
    };
    std::vector<Best> best(text.size() + 1);  // of the ways to reach each byte
    for (size_t i = 0, length = 0; i < text.size(); i += length) {
      const std::string_view rest = std::string_view(text).substr(i);
      unicode::decode(rest, length);
      bool whole_character = false;
      const auto reach = [&](size_t size, float score, int32_t id) {
        Best& to = best[i + size];
        if (to.id == kNotReached || score > to.score) to = {score, i, id};
      };
      trie_.prefixes(rest, [&](size_t size, int32_t id) {
        whole_character |= size == length;
        reach(size, best[i].score + scores_[static_cast<size_t>(id)], id);
      });
      if (!whole_character) reach(length, best[i].score + unknown_score_, kUnknown);
    }
    const size_t start = ids.size();
    bool after_unknown = false;
    for (size_t end = text.size(); end > 0; end = best[end].begin) {
      const Best& last = best[end];
      if (last.id == kUnknown) {
        add_unknown(std::string_view(text).substr(last.begin, end - last.begin), after_unknown, ids);
      } else {
        ids.push_back(last.id);
      }
      after_unknown = last.id == kUnknown;
    }
    std::reverse(ids.begin() + static_cast<ptrdiff_t>(start), ids.end());
  }

 private:
  static constexpr int32_t kUnknown = -1, kNotReached = -2;

  // From right to left, as the path is walked.
  void add_unknown(std::string_view character, bool again, std::vector<int32_t>& ids) const {
    if (vocab_.has_byte_tokens()) {
      if (character == " ") character = kSpaceMark;
      for (size_t i = character.size(); i-- > 0;) {
        const int32_t id = vocab_.byte_token(static_cast<unsigned char>(character[i]));
        if (id >= 0) ids.push_back(id);
      }
    } else if (!again && vocab_.unk >= 0) {
      ids.push_back(vocab_.unk);
    }
  }

  const Vocab& vocab_;
  Normalizer normalizer_;
  std::vector<float> scores_;
  PrefixTrie trie_;
  float unknown_score_ = 0;
};

}  // namespace

std::unique_ptr<TokenModel> make_unigram(const VocabData& data, const Vocab& vocab) {
  return std::make_unique<Unigram>(data, vocab);
}

}  // namespace pl

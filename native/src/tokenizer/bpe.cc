// Byte-pair encoding by ranked merges: on the bytes of words that a pre-tokenizer cuts out ("gpt2"), or on
// the characters of the whole text with byte tokens for those that the vocabulary lacks ("gemma4").
#include "../error.h"
#include "merge.h"
#include "model.h"
#include "pretokenizer.h"

namespace pl {

namespace {

// (left id, right id) → rank and id of what they become.
class MergeTable {
 public:
  MergeTable(const VocabData& data, const Vocab& vocab) {
    if (data.merges.empty()) fail(ErrorKind::kInvalidModel, "tokenizer.ggml.merges is missing or empty");
    merges_.reserve(data.merges.size());
    index_.reserve(data.merges.size());
    std::string left, right;
    for (size_t rank = 0; rank < data.merges.size(); rank++) {
      const std::string& merge = data.merges[rank];
      const size_t space = merge.find(' ', 1);
      if (space == merge.npos || space + 1 == merge.size()) {
        fail(ErrorKind::kInvalidModel, "merge %zu is '%.60s', two texts with a space between were expected",
             rank, merge.c_str());
      }
      to_bytes(vocab, std::string_view(merge).substr(0, space), left);
      to_bytes(vocab, std::string_view(merge).substr(space + 1), right);
      const int32_t left_id = vocab.find(left), right_id = vocab.find(right), id = vocab.find(left += right);
      // A merge into, or of, no token that text may become cannot be used. (Special tokens among them: R10.)
      if (left_id < 0 || right_id < 0 || id < 0) continue;
      const uint64_t pair = key(left_id, right_id), hash = hash_mix(seed_ ^ pair);
      if (lookup(pair, hash) != HashIndex::kNone) continue;
      index_.insert(hash, static_cast<uint32_t>(merges_.size()));
      merges_.push_back({pair, {static_cast<uint32_t>(rank), id}});
    }
  }

  Merged find(int32_t left, int32_t right) const {
    if (left < 0 || right < 0) return {};
    const uint64_t pair = key(left, right);
    const uint32_t found = lookup(pair, hash_mix(seed_ ^ pair));
    return found == HashIndex::kNone ? Merged{} : merges_[found].merged;
  }

 private:
  struct Merge {
    uint64_t pair;
    Merged merged;
  };

  static uint64_t key(int32_t left, int32_t right) {
    return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
  }
  uint32_t lookup(uint64_t pair, uint64_t hash) const {
    return index_.find(hash, [&](uint32_t i) { return merges_[i].pair == pair; });
  }
  static void to_bytes(const Vocab& vocab, std::string_view text, std::string& out) {
    if (vocab.kind() == VocabKind::kBpe) {
      if (!bytes_of_letters(text, out)) out.clear();  // no token's, then
      return;
    }
    out.clear();
    while (!text.empty()) {
      const bool mark = text.substr(0, kSpaceMark.size()) == kSpaceMark;
      out.push_back(mark ? ' ' : text[0]);
      text.remove_prefix(mark ? kSpaceMark.size() : 1);
    }
  }

  std::vector<Merge> merges_;
  HashIndex index_;
  uint64_t seed_ = hash_seed();
};

class Bpe : public TokenModel {
 public:
  Bpe(const VocabData& data, const Vocab& vocab, Pretokenizer&& pretokenizer)
      : vocab_(vocab), pretokenizer_(std::move(pretokenizer)), merges_(data, vocab) {}

  void encode(std::string_view text, bool, std::vector<int32_t>& ids) const override {
    const std::vector<char32_t> codes = unicode::decode(text);
    Merger merger;
    WordCache cache;
    std::vector<Symbol> symbols;
    size_t begin = 0, at = 0;
    for (const size_t word_end : pretokenizer_.split(codes)) {
      size_t end = begin;
      for (; at < word_end; at++) end += unicode::utf8_length(codes[at]);
      const std::string_view word = text.substr(begin, end - begin);
      begin = end;
      if (const auto* known = cache.find(word)) {
        ids.insert(ids.end(), known->begin(), known->end());
        continue;
      }
      const size_t before = ids.size();
      encode_word(word, merger, symbols, ids);
      cache.add(word, ids.data() + before, ids.size() - before);
    }
  }

 private:
  void encode_word(std::string_view word, Merger& merger, std::vector<Symbol>& symbols,
                   std::vector<int32_t>& ids) const {
    if (pretokenizer_.traits().whole_words) {
      if (const int32_t id = vocab_.find(word); id >= 0) return ids.push_back(id);
    }
    symbols.clear();
    for (size_t i = 0; i < word.size(); i++) {
      symbols.push_back(
          {static_cast<uint32_t>(i), 1, vocab_.byte_token(static_cast<unsigned char>(word[i]))});
    }
    merger.merge(symbols,
                 [&](const Symbol& left, const Symbol& right) { return merges_.find(left.id, right.id); });
    for (const Symbol& symbol : symbols) {
      // Bytes that the vocabulary lacks are unknown, or nothing where there is no token for that.
      const int32_t id = symbol.id >= 0 ? symbol.id : vocab_.unk;
      if (id >= 0) ids.push_back(id);
    }
  }

  const Vocab& vocab_;
  Pretokenizer pretokenizer_;
  MergeTable merges_;
};

class Utf8Bpe : public TokenModel {
 public:
  Utf8Bpe(const VocabData& data, const Vocab& vocab) : vocab_(vocab), merges_(data, vocab) {}

  void encode(std::string_view text, bool, std::vector<int32_t>& ids) const override {
    std::vector<Symbol> symbols;
    for (size_t i = 0, length = 0; i < text.size(); i += length) {
      unicode::decode(text.substr(i), length);
      const std::string_view character = text.substr(i, length);
      const int32_t id = vocab_.find(character == kSpaceMark ? " " : character);
      symbols.push_back({static_cast<uint32_t>(i), static_cast<uint32_t>(length), id});
    }
    Merger().merge(symbols,
                   [&](const Symbol& left, const Symbol& right) { return merges_.find(left.id, right.id); });
    bool unknown = false;  // unknown characters that follow each other are one unknown token
    for (const Symbol& symbol : symbols) {
      bool missing = symbol.id < 0;
      if (!missing) ids.push_back(symbol.id);
      if (missing && vocab_.has_byte_tokens()) {
        missing = false;
        for (const char c : text.substr(symbol.begin, symbol.length)) {
          const int32_t id = vocab_.byte_token(static_cast<unsigned char>(c));
          if (id >= 0) ids.push_back(id);
        }
      }
      if (missing && !unknown && vocab_.unk >= 0) ids.push_back(vocab_.unk);
      unknown = missing;
    }
  }

 private:
  const Vocab& vocab_;
  MergeTable merges_;
};

}  // namespace

std::unique_ptr<TokenModel> make_bpe(const VocabData& data, const Vocab& vocab) {
  if (vocab.kind() == VocabKind::kUtf8Bpe) return std::make_unique<Utf8Bpe>(data, vocab);
  return std::make_unique<Bpe>(data, vocab, Pretokenizer(data.pre.empty() ? "default" : data.pre));
}

}  // namespace pl

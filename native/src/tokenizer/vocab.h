// A checked vocabulary: what each token is and stands for, and which token a piece of text is.
#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>

#include "hash_table.h"
#include "vocab_data.h"

namespace pl {

// How tokens are found in a text.
enum class VocabKind {
  kSpm,      // "llama": merges by score; spaces are U+2581
  kBpe,      // "gpt2": merges by rank, on bytes
  kUtf8Bpe,  // merges by rank, on UTF-8; spaces are U+2581
  kWpm,      // "bert": the longest prefix of a word
  kUnigram,  // "t5": the most probable sequence; spaces are U+2581
  kNone,     // "no_vocab": ids without texts
};

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581

class Vocab {
 public:
  // Fails with kInvalidModel where the data contradicts itself. `kind` is what data.model and data.pre amount
  // to.
  Vocab(const VocabData& data, VocabKind kind);

  VocabKind kind() const { return kind_; }
  int32_t size() const { return static_cast<int32_t>(types_.size()); }
  TokenType type(int32_t id) const { return types_[static_cast<size_t>(id)]; }

  // The bytes that a token stands for: spaces as spaces, of control tokens their name.
  std::string_view piece(int32_t id) const {
    const size_t begin = starts_[static_cast<size_t>(id)];
    return std::string_view(bytes_).substr(begin, starts_[static_cast<size_t>(id) + 1] - begin);
  }
  // The token that stands for exactly these bytes and may come of plain text; −1 where there is none.
  // Control, unknown and byte tokens are never found, so that plain text cannot become one.
  int32_t find(std::string_view bytes) const {
    const uint32_t found = index_.find(hash_text(seed_, bytes),
                                       [&](uint32_t id) { return piece(static_cast<int32_t>(id)) == bytes; });
    return found == HashIndex::kNone ? -1 : static_cast<int32_t>(found);
  }
  size_t longest() const { return longest_; }  // bytes of the longest token that find() can return

  int32_t byte_token(unsigned char byte) const { return byte_tokens_[byte]; }  // −1 where there is none
  bool has_byte_tokens() const { return has_byte_tokens_; }

  // −1 where there is none.
  int32_t bos = -1, eos = -1, eot = -1, eom = -1, unk = -1, sep = -1, pad = -1, mask = -1;
  bool add_bos = false, add_eos = false, add_sep = false;
  bool add_space_prefix = false;
  // Every token that ends what a model says, ascending.
  std::span<const int32_t> ends() const { return ends_; }
  bool is_end(int32_t id) const;

 private:
  void read_types(const VocabData& data);
  void read_ids(const VocabData& data);
  void find_ends(const VocabData& data);
  void add_pieces(const VocabData& data);
  void append_piece(const std::string& token, TokenType type, int32_t id);

  VocabKind kind_;
  std::vector<TokenType> types_;
  std::string bytes_;
  std::vector<uint32_t> starts_;
  std::vector<bool> matchable_;
  HashIndex index_;
  uint64_t seed_ = hash_seed();
  size_t longest_ = 0;
  std::array<int32_t, 256> byte_tokens_;
  bool has_byte_tokens_ = false;
  std::vector<int32_t> ends_;
};

// The byte that the characters of a byte-level token stand for: GPT-2's alphabet, in which printable Latin-1
// stands for itself and the 68 other bytes are U+0100 and up. −1 for any other character.
int byte_of_letter(char32_t letter);
// A byte-level token's text as bytes. False where a character is none of the alphabet's.
bool bytes_of_letters(std::string_view text, std::string& out);

}  // namespace pl

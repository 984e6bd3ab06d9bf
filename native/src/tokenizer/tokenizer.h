// Text to token ids and back, as the model's GGUF file describes it. A Tokenizer never changes: any number of
// threads may use one at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vocab_data.h"

namespace pl {

class Tokenizer {
 public:
  // Fails with kInvalidModel where the data contradicts itself, with kUnsupported for a model or
  // pre-tokenizer that is not known (the message lists those that are).
  explicit Tokenizer(const VocabData& data);
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  // The ids of a text of any bytes; what is no UTF-8 is kept byte by byte where the model can.
  // `bos`: with the tokens that the model's file wants around a text (add_bos() … add_eos(), BERT's
  // separator). `special`: names of control tokens in the text become those tokens. Without it no text can
  // become one (R10); user-defined tokens, which mean nothing to the chat format, are found in both cases.
  std::vector<int32_t> encode(std::string_view text, bool bos, bool special) const;

  // The bytes of one token as they go on a text, with the space that begins a word. A character may be spread
  // over several tokens. Control and unknown tokens are empty, or their names with `render_special`.
  std::string piece(int32_t id, bool render_special) const;
  // A whole text: pieces, without the space that encode() put at the beginning. decode(encode(x)) == x for
  // "llama" (where x has no U+2581) and "gpt2".
  std::string decode(std::span<const int32_t> ids, bool render_special) const;

  int32_t n_tokens() const;
  TokenType type(int32_t id) const;
  // −1 where the model has none.
  int32_t bos() const;
  int32_t eos() const;
  int32_t eot() const;  // ends a turn of a conversation
  int32_t eom() const;  // ends a message to a tool
  int32_t unk() const;
  int32_t sep() const;
  int32_t pad() const;
  int32_t mask() const;
  int32_t cls() const { return bos(); }
  bool add_bos() const;
  bool add_eos() const;
  bool add_space_prefix() const;
  // Whether generation stops at this token.
  bool is_end(int32_t id) const;
  std::span<const int32_t> end_ids() const;  // ascending
  // The control or user-defined token of this name; −1 where there is none.
  int32_t find_special(std::string_view name) const;

 private:
  struct Parts;
  void check_id(int32_t id) const;
  std::unique_ptr<const Parts> parts_;
};

}  // namespace pl

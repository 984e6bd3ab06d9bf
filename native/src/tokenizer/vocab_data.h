// A tokenizer as a GGUF file describes it, not yet checked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace pl {

class Gguf;

// The numbers of tokenizer.ggml.token_type.
enum class TokenType : uint8_t { kUndefined, kNormal, kUnknown, kControl, kUserDefined, kUnused, kByte };

constexpr size_t kMostTokens = size_t{1} << 24;

// Each member is the key tokenizer.ggml.… of the same name, unless a comment says which it is.
struct VocabData {
  std::string architecture;  // general.architecture
  std::string model;         // llama, gpt2, bert, t5, gemma4, no_vocab
  std::string pre;
  std::vector<std::string> tokens;
  std::vector<float> scores;         // one per token, or none
  std::vector<int32_t> types;        // token_type: one per token, or none
  std::vector<std::string> merges;   // "left right", the most important first
  std::string precompiled_charsmap;  // bytes

  std::optional<int32_t> bos, eos, eot, eom, sep, mask;  // …_token_id; sep is "seperator"
  std::optional<int32_t> unk, pad;                       // unknown_token_id, padding_token_id
  std::optional<bool> add_bos, add_eos, add_sep;         // add_…_token
  std::optional<bool> add_space_prefix, remove_extra_whitespaces;
  std::optional<bool> lowercase, strip_accents;  // normalizer.…

  // Tokens without a text for the ids up to `n`, where a model has more of them than its vocabulary.
  void fill_up(size_t n);
};

// Throws Error where a key is missing or of the wrong type.
VocabData read_vocab(const Gguf& file);

}  // namespace pl

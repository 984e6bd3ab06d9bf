#include "vocab.h"

#include <algorithm>
#include <cmath>

#include "../error.h"
#include "../unicode/unicode.h"
#include "pretokenizer.h"

namespace pl {

namespace {

// Control tokens after which a model has nothing more to say.
constexpr std::string_view kEndNames[] = {
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<\uFF5Cend\u2581of\u2581sentence\uFF5C>",
    "[e~[",
};
// The same, only where the file says that they are control tokens: models of code begin another file with
// them.
constexpr std::string_view kEndNamesIfControl[] = {
    "<|fim_pad|>", "<fim-pad>", "<fim_pad>",  "<|fim_repo|>", "<|repo_name|>",
    "<fim-repo>",  "<REPO>",    "<reponame>", "<|file_sep|>",
};
// What ends a turn where the file does not say: the first that the vocabulary has.
constexpr std::string_view kTurnEndNames[] = {
    "<|eot_id|>",         "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>",
    "<|end_of_text|>",    "<EOT>",      "_<EOT>",  "[EOT]",         "<\uFF5Cend\u2581of\u2581sentence\uFF5C>",
    "<end_of_utterance>",
};

template <size_t n>
bool contains(const std::string_view (&names)[n], std::string_view name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

std::string with_spaces(std::string_view text) {
  std::string out;
  for (size_t mark; (mark = text.find(kSpaceMark)) != text.npos;
       text.remove_prefix(mark + kSpaceMark.size())) {
    out.append(text.substr(0, mark)).push_back(' ');
  }
  return out.append(text);
}

// The byte of "<0x0A>"; −1 for another text.
int byte_of_name(std::string_view text) {
  if (text.size() != 6 || text.substr(0, 3) != "<0x" || text[5] != '>') return -1;
  int value = 0;
  for (const char c : text.substr(3, 2)) {
    if (c >= '0' && c <= '9') value = value * 16 + (c - '0');
    else if (c >= 'A' && c <= 'F') value = value * 16 + (c - 'A' + 10);
    else if (c >= 'a' && c <= 'f') value = value * 16 + (c - 'a' + 10);
    else return -1;
  }
  return value;
}

// Whether a merge makes this token. Then it is text like any other, whatever it looks like: Qwen's "</s>".
bool is_merged(const VocabData& data, std::string_view token) {
  for (const std::string& merge : data.merges) {
    if (merge.size() != token.size() + 1) continue;
    const size_t space = merge.find(' ', 1);
    if (space == merge.npos) continue;
    const std::string_view left = std::string_view(merge).substr(0, space);
    if (token.substr(0, space) == left && token.substr(space) == std::string_view(merge).substr(space + 1))
      return true;
  }
  return false;
}

bool is_latin1_letter(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

}  // namespace

int byte_of_letter(char32_t letter) {
  static const std::array<int16_t, 0x144> bytes = [] {
    std::array<int16_t, 0x144> table;
    table.fill(-1);
    size_t next = 0x100;
    for (int byte = 0; byte < 256; byte++) {
      table[is_latin1_letter(byte) ? static_cast<size_t>(byte) : next++] = static_cast<int16_t>(byte);
    }
    return table;
  }();
  return letter < bytes.size() ? bytes[letter] : -1;
}

bool bytes_of_letters(std::string_view text, std::string& out) {
  out.clear();
  for (size_t i = 0, length = 0; i < text.size(); i += length) {
    const int byte = byte_of_letter(unicode::decode(text.substr(i), length));
    if (byte < 0) return false;
    out.push_back(static_cast<char>(byte));
  }
  return true;
}

Vocab::Vocab(const VocabData& data, VocabKind kind) : kind_(kind) {
  const size_t n = data.tokens.size();
  if (n == 0) fail(ErrorKind::kInvalidModel, "the vocabulary has no tokens");
  if (n > kMostTokens)
    fail(ErrorKind::kInvalidModel, "the vocabulary has %zu tokens, at most %zu were expected", n, kMostTokens);
  if (!data.scores.empty() && data.scores.size() != n) {
    fail(ErrorKind::kInvalidModel, "the vocabulary has %zu tokens and %zu scores", n, data.scores.size());
  }
  for (size_t i = 0; i < data.scores.size(); i++) {
    if (!std::isfinite(data.scores[i]))
      fail(ErrorKind::kInvalidModel, "token %zu's score is not a finite number", i);
  }
  byte_tokens_.fill(-1);
  read_types(data);
  read_ids(data);
  find_ends(data);
  add_pieces(data);
}

void Vocab::read_types(const VocabData& data) {
  const size_t n = data.tokens.size();
  types_.assign(n, TokenType::kNormal);
  if (data.types.empty()) {
    const bool has_bytes = kind_ == VocabKind::kSpm || kind_ == VocabKind::kUtf8Bpe;
    for (size_t i = 0; has_bytes && i < n; i++) {
      if (byte_of_name(data.tokens[i]) >= 0) types_[i] = TokenType::kByte;
    }
    return;
  }
  if (data.types.size() != n) {
    fail(ErrorKind::kInvalidModel, "the vocabulary has %zu tokens and %zu token types", n, data.types.size());
  }
  for (size_t i = 0; i < n; i++) {
    const int32_t type = data.types[i];
    if (type < 0 || type > static_cast<int32_t>(TokenType::kByte)) {
      fail(ErrorKind::kInvalidModel, "token %zu is of type %d, 0 to 6 were expected", i, type);
    }
    types_[i] = type == 0 ? TokenType::kNormal : static_cast<TokenType>(type);
  }
}

void Vocab::read_ids(const VocabData& data) {
  // Where the file does not say, the ids that the kind's first models had, if the vocabulary reaches so far.
  const bool spm = kind_ == VocabKind::kSpm, wpm = kind_ == VocabKind::kWpm,
             unigram = kind_ == VocabKind::kUnigram;
  const auto read = [&](const char* name, const std::optional<int32_t>& given, int32_t otherwise) {
    if (!given) return otherwise < size() ? otherwise : -1;
    if (*given < 0 || *given >= size()) {
      fail(ErrorKind::kInvalidModel, "the %s token's id is %d, 0 to %d were expected", name, *given,
           size() - 1);
    }
    return *given;
  };
  // Of what no text needs, an id that is none counts as not given: many finetunes name a padding token, the first id
  // behind the vocabulary, that they had in training alone.
  const auto read_spare = [&](const std::optional<int32_t>& given, int32_t otherwise) {
    const bool there = given && *given >= 0 && *given < size();
    return there ? *given : otherwise < size() ? otherwise : -1;
  };
  bos = read("bos", data.bos, spm ? 1 : wpm ? 101 : -1);
  eos = read("eos", data.eos, spm ? 2 : unigram ? 1 : -1);
  unk = read("unknown", data.unk, spm ? 0 : wpm ? 100 : unigram ? 2 : -1);
  sep = read("separator", data.sep, wpm ? 102 : -1);
  pad = read_spare(data.pad, wpm || unigram ? 0 : -1);
  mask = read_spare(data.mask, wpm ? 103 : -1);
  eot = read("end of turn", data.eot, -1);
  eom = read("end of message", data.eom, -1);
  if (data.types.empty() && unk >= 0 && kind_ != VocabKind::kBpe)
    types_[static_cast<size_t>(unk)] = TokenType::kUnknown;
  const bool bpe_bos =
      data.model == "gpt2" && Pretokenizer::traits(data.pre.empty() ? "default" : data.pre).add_bos;
  add_bos = data.add_bos.value_or(spm || wpm || bpe_bos || kind_ == VocabKind::kUtf8Bpe) && bos >= 0;
  add_eos = data.add_eos.value_or(unigram) && eos >= 0;
  add_sep = data.add_sep.value_or(wpm) && sep >= 0 && wpm;
  add_space_prefix = data.add_space_prefix.value_or(spm || unigram) && (spm || unigram);
}

void Vocab::find_ends(const VocabData& data) {
  int32_t harmony_end = -1, sentence_end = -1;
  bool has_return = false, has_call = false, has_flush = false, has_tool_response = false;
  size_t best_turn_end = std::size(kTurnEndNames);
  for (int32_t id = 0; id < size(); id++) {
    const std::string& token = data.tokens[static_cast<size_t>(id)];
    if (token.size() < 4 || token.size() > 40 || (token[0] != '<' && token[0] != '[' && token[0] != '_'))
      continue;
    TokenType& type = types_[static_cast<size_t>(id)];
    // Gemma's vocabulary has the tags of HTML, </s> among them: text like any other, and no end.
    const bool tag = token == "</s>" && type == TokenType::kUserDefined && eos >= 0 && eos != id;
    if (contains(kEndNames, token) && !tag && !(type == TokenType::kNormal && is_merged(data, token))) {
      type = TokenType::kControl;  // whatever the file says: no content may end an answer
      ends_.push_back(id);
      if (token == "<|end|>") harmony_end = id;
      if (token == "</s>") sentence_end = id;
      has_return |= token == "<|return|>";
      has_call |= token == "<|call|>" || token == "<|calls|>";
      has_flush |= token == "<|flush|>";
      has_tool_response |= token == "<|tool_response>";
      const auto turn_end = static_cast<size_t>(
          std::find(std::begin(kTurnEndNames), std::end(kTurnEndNames), token) - std::begin(kTurnEndNames));
      if (!data.eot && turn_end < best_turn_end) {
        best_turn_end = turn_end;
        eot = id;
      }
    } else if (type == TokenType::kControl && contains(kEndNamesIfControl, token)) {
      ends_.push_back(id);
    }
    if (!data.eom && token == "<|eom_id|>") eom = id;
  }
  for (const int32_t id : {eos, eot, eom}) {
    if (id >= 0) ends_.push_back(id);
  }
  // In Harmony's format <|end|> ends a message and <|return|> the answer; Gemma 4 keeps an </s> that it does
  // not use.
  if (has_call && (has_return || has_flush) && harmony_end != eos) {
    std::erase(ends_, harmony_end);
    if (!data.eot && eot == harmony_end) eot = -1;
  }
  if (has_tool_response && sentence_end != eos) std::erase(ends_, sentence_end);
  std::sort(ends_.begin(), ends_.end());
  ends_.erase(std::unique(ends_.begin(), ends_.end()), ends_.end());
}

bool Vocab::is_end(int32_t id) const { return std::binary_search(ends_.begin(), ends_.end(), id); }

void Vocab::add_pieces(const VocabData& data) {
  size_t total = 0;
  for (const std::string& token : data.tokens) total += token.size();
  if (total > UINT32_MAX) fail(ErrorKind::kInvalidModel, "the vocabulary's tokens have %zu bytes", total);
  bytes_.reserve(total);
  starts_.reserve(data.tokens.size() + 1);
  starts_.push_back(0);
  matchable_.assign(data.tokens.size(), false);
  for (int32_t id = 0; id < size(); id++) append_piece(data.tokens[static_cast<size_t>(id)], type(id), id);
  index_.reserve(data.tokens.size());
  // Of equal tokens the normal one is found, then the first.
  for (const bool normal : {true, false}) {
    for (int32_t id = 0; id < size(); id++) {
      const std::string_view text = piece(id);
      if (!matchable_[static_cast<size_t>(id)] || text.empty() || (type(id) == TokenType::kNormal) != normal)
        continue;
      if (find(text) >= 0) continue;
      index_.insert(hash_text(seed_, text), static_cast<uint32_t>(id));
      longest_ = std::max(longest_, text.size());
    }
  }
  for (int byte = 0; kind_ == VocabKind::kBpe && byte < 256; byte++) {
    const char text = static_cast<char>(byte);
    byte_tokens_[static_cast<size_t>(byte)] = find(std::string_view(&text, 1));
  }
  has_byte_tokens_ =
      std::any_of(byte_tokens_.begin(), byte_tokens_.end(), [](int32_t id) { return id >= 0; });
}

void Vocab::append_piece(const std::string& token, TokenType type, int32_t id) {
  std::string text = token;
  bool matchable = false;
  switch (type) {
    case TokenType::kByte: {
      const int byte = byte_of_name(token);
      if (kind_ == VocabKind::kBpe ||
          kind_ == VocabKind::kWpm) {  // such models have no byte tokens of this form
        matchable = bytes_of_letters(token, text);
        if (!matchable) text = token;
        break;
      }
      if (byte < 0)
        fail(ErrorKind::kInvalidModel, "token %d, '%.40s', is said to be a byte, as in <0x0A>", id,
             token.c_str());
      text.assign(1, static_cast<char>(byte));
      byte_tokens_[static_cast<size_t>(byte)] = id;
      break;
    }
    case TokenType::kControl:
    case TokenType::kUnknown: break;
    default:
      matchable = true;
      if (kind_ == VocabKind::kWpm) {
        if (token.starts_with(kSpaceMark)) text.assign(1, ' ').append(token, kSpaceMark.size());
      } else if (kind_ != VocabKind::kBpe) {
        text = with_spaces(token);
      } else if (!bytes_of_letters(token, text)) {
        matchable = false;
        text = token;
      } else if (type == TokenType::kUserDefined) {
        // What users add is written as it looks; such a text may happen to spell other bytes.
        matchable = text == token;
        text = token;
      }
  }
  matchable_[static_cast<size_t>(id)] = matchable;
  bytes_ += text;
  starts_.push_back(static_cast<uint32_t>(bytes_.size()));
}

}  // namespace pl

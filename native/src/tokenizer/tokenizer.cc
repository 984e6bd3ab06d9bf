#include "tokenizer.h"

#include <algorithm>

#include "../error.h"
#include "../unicode/unicode.h"
#include "model.h"
#include "prefix_trie.h"
#include "pretokenizer.h"
#include "vocab.h"

namespace pl {

namespace {

constexpr size_t kLongestSpecial = 1024;  // bytes: bounds the time per byte of text
constexpr size_t kMostSpecialBytes = size_t{64} << 20;
constexpr size_t kLongestText = size_t{1} << 30;

VocabKind kind_of(const VocabData& data) {
  if (data.model == "llama") return VocabKind::kSpm;
  if (data.model == "bert") return VocabKind::kWpm;
  if (data.model == "t5") return VocabKind::kUnigram;
  if (data.model == "gemma4") return VocabKind::kUtf8Bpe;
  if (data.model == "no_vocab") return VocabKind::kNone;
  if (data.model == "gpt2") {
    const std::string pre = data.pre.empty() ? "default" : data.pre;
    return Pretokenizer::traits(pre).bytes ? VocabKind::kBpe : VocabKind::kUtf8Bpe;
  }
  fail(ErrorKind::kUnsupported, "the tokenizer '%.100s' is not known; known are: llama gpt2 bert t5 gemma4 no_vocab",
       data.model.c_str());
}

class NoModel : public TokenModel {
 public:
  void encode(std::string_view, bool, std::vector<int32_t>&) const override {
    fail(ErrorKind::kUnsupported, "this model's file has no vocabulary (tokenizer.ggml.model is \"no_vocab\"): it takes "
         "and gives token ids, and no text");
  }
};

std::unique_ptr<TokenModel> make_model(const VocabData& data, const Vocab& vocab) {
  switch (vocab.kind()) {
    case VocabKind::kSpm: return make_spm(data, vocab);
    case VocabKind::kWpm: return make_wpm(data, vocab);
    case VocabKind::kUnigram: return make_unigram(data, vocab);
    case VocabKind::kNone: return std::make_unique<NoModel>();
    default: return make_bpe(data, vocab);
  }
}

// Where the white space before the mask's name is part of it, as in `Paris is <mask>.`
bool mask_takes_space(const VocabData& data) {
  constexpr std::string_view kPres[] = {"jina-v2-es", "jina-v2-de", "jina-v2-code", "roberta-bpe", "modern-bert"};
  return data.model == "t5" || std::find(std::begin(kPres), std::end(kPres), data.pre) != std::end(kPres);
}

// Where the white space after a special token's name is part of it, as in "<|user|>\nHello": in the vocabulary
// that the Phi-3 models share. No key says so.
bool specials_take_space(const VocabData& data) {
  return data.model == "llama" && (data.architecture == "phi3" || data.architecture == "phimoe");
}

std::string_view without_trailing_space(std::string_view text) {
  size_t end = 0;
  for (size_t i = 0, length = 0; i < text.size(); i += length) {
    if (!unicode::is_white_space(unicode::decode(text.substr(i), length))) end = i + length;
  }
  return text.substr(0, end);
}

size_t leading_space(std::string_view text) {
  size_t i = 0;
  for (size_t length = 0; i < text.size(); i += length) {
    if (!unicode::is_white_space(unicode::decode(text.substr(i), length))) break;
  }
  return i;
}

bool is_special(TokenType type) { return type == TokenType::kControl || type == TokenType::kUnknown; }

}  // namespace

struct Tokenizer::Parts {
  explicit Parts(const VocabData& data)
      : vocab(data, kind_of(data)),
        model(make_model(data, vocab)),
        space_before_mask(mask_takes_space(data)),
        space_after_specials(specials_take_space(data)) {
    std::vector<PrefixTrie::Entry> entries;
    size_t bytes = 0;
    for (int32_t id = 0; id < vocab.size(); id++) {
      const TokenType type = vocab.type(id);
      const std::string_view name = vocab.piece(id);
      if (name.empty() || (!is_special(type) && type != TokenType::kUserDefined)) continue;
      bytes += name.size();
      if (name.size() > kLongestSpecial || bytes > kMostSpecialBytes) {
        fail(ErrorKind::kUnsupported, "the special tokens are too long: %zu bytes in token %d and %zu in all",
             name.size(), id, bytes);
      }
      entries.push_back({name, id});
    }
    specials = PrefixTrie(std::move(entries));
  }

  // The longest special token at the start of the text: its length, 0 where there is none.
  size_t match(std::string_view text, bool control, int32_t& id) const {
    size_t longest = 0;
    specials.prefixes(text, [&](size_t length, int32_t found) {
      if (!control && is_special(vocab.type(found))) return;
      longest = length;
      id = found;
    });
    return longest;
  }

  bool takes_space_before(int32_t id) const { return space_before_mask && id == vocab.mask; }
  bool takes_space_after(int32_t id) const {
    return space_after_specials && id != vocab.unk && id != vocab.bos && vocab.piece(id) != "<|endoftext|>";
  }

  Vocab vocab;
  std::unique_ptr<TokenModel> model;
  PrefixTrie specials;
  bool space_before_mask, space_after_specials;
};

Tokenizer::Tokenizer(const VocabData& data) : parts_(std::make_unique<const Parts>(data)) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool bos, bool special) const {
  if (text.size() > kLongestText) {
    fail(ErrorKind::kUsage, "a text of %zu bytes was given, at most %zu were expected", text.size(),
         kLongestText);
  }
  const Vocab& vocab = parts_->vocab;
  std::vector<int32_t> ids;
  if (bos && vocab.add_bos) ids.push_back(vocab.bos);
  bool first = true;
  size_t begin = 0;
  for (size_t i = 0; i < text.size();) {
    int32_t id = -1;
    const size_t length = parts_->specials.begins(text[i]) ? parts_->match(text.substr(i), special, id) : 0;
    if (length == 0) {
      i++;
      continue;
    }
    std::string_view before = text.substr(begin, i - begin);
    if (parts_->takes_space_before(id)) before = without_trailing_space(before);
    if (!before.empty()) parts_->model->encode(before, first, ids);
    ids.push_back(id);
    first = true;
    i += length;
    if (parts_->takes_space_after(id)) i += leading_space(text.substr(i));
    begin = i;
  }
  if (begin < text.size()) parts_->model->encode(text.substr(begin), first, ids);
  if (bos && vocab.add_eos) ids.push_back(vocab.eos);
  if (bos && vocab.add_sep && !(vocab.add_eos && vocab.eos == vocab.sep)) ids.push_back(vocab.sep);
  return ids;
}

void Tokenizer::check_id(int32_t id) const {
  if (id >= 0 && id < n_tokens()) return;
  fail(ErrorKind::kUsage, "token %d was given, 0 to %d were expected", id, n_tokens() - 1);
}

std::string Tokenizer::piece(int32_t id, bool render_special) const {
  check_id(id);
  if (!render_special && is_special(type(id))) return {};
  return std::string(parts_->vocab.piece(id));
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool render_special) const {
  const Vocab& vocab = parts_->vocab;
  const bool words = vocab.kind() == VocabKind::kWpm;
  bool after_special = true;  // where encode() adds a space
  std::string out;
  for (const int32_t id : ids) {
    check_id(id);
    const TokenType is = type(id);
    std::string_view piece = vocab.piece(id);
    const bool marked = is_special(is) || is == TokenType::kUserDefined;
    const bool added = words ? out.empty() : vocab.add_space_prefix && after_special;
    if (added && !marked && !piece.empty() && piece[0] == ' ') piece.remove_prefix(1);
    after_special = marked;
    if (render_special || !is_special(is)) out += piece;
  }
  return out;
}

int32_t Tokenizer::n_tokens() const { return parts_->vocab.size(); }
TokenType Tokenizer::type(int32_t id) const {
  check_id(id);
  return parts_->vocab.type(id);
}
int32_t Tokenizer::bos() const { return parts_->vocab.bos; }
int32_t Tokenizer::eos() const { return parts_->vocab.eos; }
int32_t Tokenizer::eot() const { return parts_->vocab.eot; }
int32_t Tokenizer::eom() const { return parts_->vocab.eom; }
int32_t Tokenizer::unk() const { return parts_->vocab.unk; }
int32_t Tokenizer::sep() const { return parts_->vocab.sep; }
int32_t Tokenizer::pad() const { return parts_->vocab.pad; }
int32_t Tokenizer::mask() const { return parts_->vocab.mask; }
bool Tokenizer::add_bos() const { return parts_->vocab.add_bos; }
bool Tokenizer::add_eos() const { return parts_->vocab.add_eos; }
bool Tokenizer::add_space_prefix() const { return parts_->vocab.add_space_prefix; }
bool Tokenizer::is_end(int32_t id) const { return parts_->vocab.is_end(id); }
std::span<const int32_t> Tokenizer::end_ids() const { return parts_->vocab.ends(); }

int32_t Tokenizer::find_special(std::string_view name) const {
  int32_t id = -1;
  return parts_->match(name, true, id) == name.size() && !name.empty() ? id : -1;
}

}  // namespace pl

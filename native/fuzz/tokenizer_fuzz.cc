// libFuzzer target for the tokenizers: clang++ -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined
// The first bytes choose a kind and its options, the next 200 or so make a vocabulary, the rest is the text; the whole
// input is tried as a text too.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "../src/error.h"
#include "../src/tokenizer/tokenizer.h"

namespace {

const char* const kModels[] = {"gpt2", "llama", "bert", "t5", "gemma4"};
const char* const kPres[] = {"gpt-2",      "llama-bpe", "qwen2", "gpt-4o",   "deepseek-llm", "deepseek-v3",
                             "kimi-k2",    "falcon",    "bloom", "superbpe", "tiny_aya",     "jais-2",
                             "exaone-moe", "chameleon", "",      "unknown",  "bailingmoe",   "youtu"};

class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  uint8_t byte() { return size_ == 0 ? uint8_t{0} : (--size_, *data_++); }
  std::string text(size_t most) {
    const size_t n = std::min(size_, most);
    std::string out(reinterpret_cast<const char*>(data_), n);
    data_ += n;
    size_ -= n;
    return out;
  }

 private:
  const uint8_t* data_;
  size_t size_;
};

// Now and then one that is none.
std::optional<int32_t> token_id(uint8_t byte) {
  if (byte < 0x80) return std::nullopt;
  return byte == 0xFE ? -5 : byte - 0x80;
}

// What most files have: a token for each byte, so that any text has tokens.
void add_bytes(pl::VocabData& data) {
  for (unsigned i = 0; i < 256; ++i) {
    data.tokens.push_back(pl::text("<0x%02X>", i));
    data.scores.push_back(0.0f);
    data.types.push_back(static_cast<int32_t>(pl::TokenType::kByte));
  }
}

void exercise(const pl::Tokenizer& tokenizer, std::string_view text) {
  for (int mode = 0; mode < 4; ++mode) {
    const bool bos = (mode & 1) != 0, special = (mode & 2) != 0;
    const std::vector<int32_t> ids = tokenizer.encode(text, bos, special);
    for (const int32_t id : ids) {
      if (id < 0 || id >= tokenizer.n_tokens()) std::abort();
      // No text becomes a control token by itself (R10); those that the file puts around texts are its own.
      const bool plain = !bos && !special && id != tokenizer.unk();
      if (plain && tokenizer.type(id) == pl::TokenType::kControl) std::abort();
      (void)tokenizer.piece(id, special);
      (void)tokenizer.is_end(id);
    }
    (void)tokenizer.decode(ids, special);
  }
}

void refuses(const pl::Tokenizer& tokenizer, int32_t id) {
  try {
    (void)tokenizer.piece(id, true);
  } catch (const pl::Error&) {
    return;
  }
  std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  Input in(bytes, size);
  pl::VocabData data;
  data.model = kModels[in.byte() % std::size(kModels)];
  data.pre = kPres[in.byte() % std::size(kPres)];
  const uint8_t options = in.byte(), more = in.byte();
  if (more & 128) data.architecture = "phi3";
  if (options & 1) data.add_space_prefix = (options & 2) != 0;
  if (options & 4) data.remove_extra_whitespaces = (options & 8) != 0;
  if (options & 16) data.bos = in.byte(), data.eos = token_id(in.byte()), data.unk = token_id(in.byte());
  if (options & 64) data.sep = token_id(in.byte()), data.mask = token_id(in.byte()), data.eot = token_id(in.byte());
  if (more & 1) data.add_bos = data.add_eos = data.add_sep = (more & 2) != 0;
  if (more & 4) data.lowercase = (more & 8) != 0;
  if (more & 16) data.strip_accents = (more & 32) != 0;
  if (more & 64) add_bytes(data);
  if (options & 32) data.precompiled_charsmap = in.text(in.byte());
  for (size_t n = in.byte() % 40 + size_t{options >= 128}; n-- > 0;) {
    data.tokens.push_back(in.text(in.byte() % 8));
    data.scores.push_back(static_cast<float>(in.byte()) - 128);
    data.types.push_back(in.byte() % 7);
  }
  if (data.model == "gpt2" || data.model == "bert") data.scores.clear();
  for (size_t n = in.byte() % 20; n-- > 0;) data.merges.push_back(in.text(in.byte() % 8));
  try {
    const pl::Tokenizer tokenizer(data);
    exercise(tokenizer, in.text(size));
    exercise(tokenizer, {reinterpret_cast<const char*>(bytes), size});
    refuses(tokenizer, -1), refuses(tokenizer, tokenizer.n_tokens());
  } catch (const pl::Error&) {
  }
  return 0;
}

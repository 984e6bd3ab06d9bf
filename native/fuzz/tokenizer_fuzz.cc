// libFuzzer target for the tokenizers: clang++ -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined
// The first bytes choose a kind and its options, the next 200 or so make a vocabulary, the rest is the text.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

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

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  Input in(bytes, size);
  pl::VocabData data;
  data.model = kModels[in.byte() % std::size(kModels)];
  data.pre = kPres[in.byte() % std::size(kPres)];
  const uint8_t options = in.byte();
  if (options & 1) data.add_space_prefix = (options & 2) != 0;
  if (options & 4) data.remove_extra_whitespaces = (options & 8) != 0;
  if (options & 16) data.bos = in.byte();
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
    const std::string text = in.text(size);
    for (const bool special : {false, true}) {
      const auto ids = tokenizer.encode(text, special, special);
      for (const int32_t id : ids) {
        if (id < 0 || id >= tokenizer.n_tokens()) std::abort();
        if (!special && tokenizer.type(id) == pl::TokenType::kControl && id != tokenizer.unk()) std::abort();
      }
      tokenizer.decode(ids, special);
    }
  } catch (const pl::Error&) {
  }
  return 0;
}

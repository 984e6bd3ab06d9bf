#include "vocab_data.h"

#include <algorithm>

#include "../gguf.h"

namespace pl {

namespace {

std::vector<std::string> strings(const Gguf& file, const char* key) {
  const auto found = file.strings(key);
  if (!found) return {};
  return {found->begin(), found->end()};
}

// Files write "none" as −1, also in an unsigned number.
std::optional<int32_t> token_id(const Gguf& file, const std::string& name) {
  const std::string key = "tokenizer.ggml." + name + "_token_id";
  const GgufValue* value = file.value(key);
  if (value == nullptr || (value->type == ValueType::U32 && file.u64(key) == UINT32_MAX)) return {};
  const std::optional<int32_t> id = file.i32(key);
  return id == -1 ? std::nullopt : id;
}

}  // namespace

void VocabData::fill_up(size_t n) {
  if (n <= tokens.size()) return;
  tokens.resize(std::min(n, kMostTokens));
  if (!scores.empty()) scores.resize(tokens.size());
  if (!types.empty()) types.resize(tokens.size(), static_cast<int32_t>(TokenType::kUnused));
}

VocabData read_vocab(const Gguf& file) {
  const auto flag = [&](const char* name) { return file.boolean(std::string("tokenizer.ggml.") + name); };
  VocabData data;
  data.architecture = file.str("general.architecture").value_or("");
  data.model = file.require_str("tokenizer.ggml.model");
  data.pre = file.str("tokenizer.ggml.pre").value_or("");
  if (data.model == "none") data.model = "no_vocab";
  if (data.model == "no_vocab") {
    data.fill_up(file.u64(data.architecture + ".vocab_size").value_or(0));
  } else {
    const auto tokens = file.require_strings("tokenizer.ggml.tokens");
    data.tokens.assign(tokens.begin(), tokens.end());
  }
  data.scores = file.f32s("tokenizer.ggml.scores").value_or(std::vector<float>());
  data.types = file.i32s("tokenizer.ggml.token_type").value_or(std::vector<int32_t>());
  data.merges = strings(file, "tokenizer.ggml.merges");
  if (const auto map = file.u8s("tokenizer.ggml.precompiled_charsmap")) {
    data.precompiled_charsmap.assign(map->begin(), map->end());
  }
  data.bos = token_id(file, "bos");
  data.eos = token_id(file, "eos");
  data.eot = token_id(file, "eot");
  data.eom = token_id(file, "eom");
  data.sep = token_id(file, "seperator");  // as the key is spelt
  data.mask = token_id(file, "mask");
  data.unk = token_id(file, "unknown");
  data.pad = token_id(file, "padding");
  data.add_bos = flag("add_bos_token");
  data.add_eos = flag("add_eos_token");
  data.add_sep = flag("add_sep_token");
  data.add_space_prefix = flag("add_space_prefix");
  data.remove_extra_whitespaces = flag("remove_extra_whitespaces");
  data.lowercase = flag("normalizer.lowercase");
  data.strip_accents = flag("normalizer.strip_accents");
  return data;
}

}  // namespace pl

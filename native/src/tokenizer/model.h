// What every kind of tokenizer does: plain text in, token ids out.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "vocab.h"

namespace pl {

class TokenModel {
 public:
  virtual ~TokenModel() = default;
  // Appends the ids of `text`, which is not empty. `first`: it begins the whole text, or follows a special
  // token.
  virtual void encode(std::string_view text, bool first, std::vector<int32_t>& ids) const = 0;
};

// Each throws Error where the data does not fit its kind. The vocabulary must outlive the model.
std::unique_ptr<TokenModel> make_bpe(const VocabData& data, const Vocab& vocab);
std::unique_ptr<TokenModel> make_spm(const VocabData& data, const Vocab& vocab);
std::unique_ptr<TokenModel> make_wpm(const VocabData& data, const Vocab& vocab);
std::unique_ptr<TokenModel> make_unigram(const VocabData& data, const Vocab& vocab);

}  // namespace pl

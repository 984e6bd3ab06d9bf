// What sentencepiece does to a text before it looks for tokens.
#pragma once

#include <string>
#include <string_view>

#include "vocab.h"

namespace pl {

class Normalizer {
 public:
  // Fails with kInvalidModel where the character map contradicts itself.
  Normalizer(const VocabData& data, const Vocab& vocab);

  // Characters replaced by the map; spaces at both ends dropped and runs of them made one, where the model
  // wants that; U+2581 as spaces, of which only those at the end are dropped. With `prefix` and where the
  // model wants it, a space is put before.
  std::string normalize(std::string_view text, bool prefix) const;

 private:
  std::string_view replacement(std::string_view text, size_t& length) const;

  // The map's two parts: a double array (Darts) from UTF-8 to offsets, and texts that end with NUL.
  std::vector<uint32_t> units_;
  std::string texts_;
  bool add_prefix_, trim_;
};

}  // namespace pl

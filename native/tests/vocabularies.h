// Small vocabularies, one for each kind of tokenizer, for its tests.
#pragma once

#include <cstdint>
#include <cstdio>
#include <initializer_list>
#include <string>
#include <vector>

#include "../src/tokenizer/tokenizer.h"
#include "../src/unicode/unicode.h"
#include "check.h"

namespace pl {

using Ids = std::vector<int32_t>;

enum : int32_t { kNormal = 1, kUnknown, kControl, kUser, kUnused, kByteType };

inline std::string shown(const Ids& ids) {
  std::string out;
  for (const int32_t id : ids) (out += ' ') += std::to_string(id);
  return out;
}
#define CHECK_IDS(a, ...) CHECK_EQ(shown(a), shown(Ids __VA_ARGS__))

inline std::string letter_of_byte(int byte) {
  std::string out;
  for (char32_t c = 0; c < 0x144; c++) {
    std::string bytes;
    // The alphabet, backwards.
    const bool plain = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    if (plain && c == static_cast<char32_t>(byte)) unicode::append_utf8(out, c);
  }
  if (!out.empty()) return out;
  char32_t next = 0x100;
  for (int b = 0; b < byte; b++) next += !((b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE);
  unicode::append_utf8(out, next);
  return out;
}

inline void add(VocabData& data, const std::string& token, int32_t type = kNormal, float score = 0) {
  data.tokens.push_back(token);
  data.types.push_back(type);
  if (data.model != "gpt2" && data.model != "bert") data.scores.push_back(score);
}

struct Entry {
  const char* token;
  int32_t type = kNormal;
  float score = 0;
};

inline VocabData vocabulary(const char* model, std::initializer_list<Entry> entries) {
  VocabData data;
  data.model = model;
  for (const Entry& entry : entries) add(data, entry.token, entry.type, entry.score);
  return data;
}

// All bytes (ids 0–255), then 256 he, 257 ll, 258 hell, 259 hello, 260 Ġhello, 261 <|im_end|>, 262 <tool>,
// 263 <|im|>.
inline VocabData small_bpe() {
  VocabData data;
  data.model = "gpt2";
  data.pre = "gpt-2";
  for (int byte = 0; byte < 256; byte++) add(data, letter_of_byte(byte));
  for (const char* token : {"he", "ll", "hell", "hello", "Ġhello"}) add(data, token);
  add(data, "<|im_end|>", kControl);
  add(data, "<tool>", kUser);
  add(data, "<|im|>", kControl);
  data.merges = {"h e", "l l", "he ll", "hell o", "Ġ hello"};
  data.bos = data.eos = 261;
  return data;
}

// 0 <unk>, 1 <s>, 2 </s>, 3 ▁, 4 a, 5 b, 6 ab, 7 ▁ab, 8 abb (unused), 9 bb; then bytes if wanted.
inline VocabData small_spm(bool bytes) {
  VocabData data = vocabulary("llama", {{"<unk>", kUnknown}, {"<s>", kControl}, {"</s>", kControl},
                                        {"▁", kNormal, -5}, {"a", kNormal, -6}, {"b", kNormal, -7}, {"ab", kNormal, -1},
                                        {"▁ab", kNormal, -2}, {"abb", kUnused, -3}, {"bb", kNormal, -4}});
  for (int byte = 0; bytes && byte < 256; byte++) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", static_cast<unsigned>(byte));
    add(data, name, kByteType);
  }
  return data;
}

// A character map with one entry, "A" → "ab", and its double array.
inline std::string small_charsmap() {
  std::vector<uint32_t> units(256, 0xFF);  // a label that no byte leads to from the root
  units[0] = 1 << 10;                      // the root's children are at 1 ^ byte
  units[1 ^ 'A'] = ('A' | 1 << 8 | 2 << 10);
  units[1 ^ 'A' ^ 2] = 0x80000000u;  // offset 0 of the texts
  const uint32_t size = static_cast<uint32_t>(units.size() * 4);
  std::string map(reinterpret_cast<const char*>(&size), 4);
  map.append(reinterpret_cast<const char*>(units.data()), size);
  return map + std::string("ab\0", 3);
}

inline VocabData small_unigram() {
  VocabData data = vocabulary("t5", {{"<pad>", kControl}, {"</s>", kControl}, {"<unk>", kUnknown},
                                     {"▁", kNormal, -2}, {"a", kNormal, -3}, {"b", kNormal, -3}, {"ab", kNormal, -6},
                                     {"▁a", kNormal, -4}, {"ba", kNormal, -9}, {"<x>", kUser}});
  data.precompiled_charsmap = small_charsmap();
  return data;
}

}  // namespace pl

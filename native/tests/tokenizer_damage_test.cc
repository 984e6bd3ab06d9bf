// Tokenizers of vocabularies that are damaged, and with texts that are very long.
#include <cmath>
#include <cstring>

#include "../src/tokenizer/tokenizer.h"
#include "check.h"
#include "vocabularies.h"

using namespace pl;

namespace {

void test_more_ids_than_texts() {
  VocabData data = small_bpe();
  const size_t n = data.tokens.size();
  const auto ids = Tokenizer(data).encode("abc", true, true);
  data.fill_up(n - 1);
  CHECK_EQ(data.tokens.size(), n);
  data.fill_up(n + 3);
  const Tokenizer more(data);
  CHECK(more.encode("abc", true, true) == ids);
  CHECK_EQ(more.piece(static_cast<int32_t>(n) + 2, true), "");
  CHECK_THROWS(ErrorKind::kUsage, more.piece(static_cast<int32_t>(n) + 3, true));
  VocabData none;
  none.model = "no_vocab";
  CHECK_THROWS(ErrorKind::kInvalidModel, Tokenizer(none));
  none.fill_up(10);
  const Tokenizer numbers(none);
  CHECK_IDS(numbers.encode("", true, true), {});
  CHECK_THROWS(ErrorKind::kUnsupported, numbers.encode("a", false, false));
  CHECK_EQ(numbers.decode(std::vector<int32_t>{3, 9}, true), "");
}

void test_damaged() {
  const auto refused = [](ErrorKind kind, VocabData data, auto change) {
    change(data);
    CHECK_THROWS(kind, Tokenizer(data));
  };
  constexpr ErrorKind bad = ErrorKind::kInvalidModel, unknown = ErrorKind::kUnsupported;
  refused(bad, small_bpe(), [](VocabData& d) { d.tokens.clear(); });
  refused(bad, small_bpe(), [](VocabData& d) { d.tokens.pop_back(); });
  refused(bad, small_bpe(), [](VocabData& d) { d.types.push_back(1); });
  refused(bad, small_bpe(), [](VocabData& d) { d.types[3] = 7; });
  refused(bad, small_bpe(), [](VocabData& d) { d.types[3] = -1; });
  refused(bad, small_bpe(), [](VocabData& d) { d.scores = {1, 2}; });
  refused(bad, small_bpe(), [](VocabData& d) { d.merges.clear(); });
  for (const char* merge : {"", " ", "ab", "a ", " a", "  "}) {
    refused(bad, small_bpe(), [&](VocabData& d) { d.merges[1] = merge; });
  }
  refused(bad, small_bpe(), [](VocabData& d) { d.bos = 264; });
  refused(bad, small_bpe(), [](VocabData& d) { d.eos = -5; });
  VocabData padded = small_bpe();
  padded.pad = static_cast<int32_t>(padded.tokens.size());  // as many finetunes have it
  padded.mask = 9999;
  CHECK_EQ(Tokenizer(padded).pad(), -1);
  refused(bad, small_bpe(), [](VocabData& d) { d.unk = INT32_MAX; });
  refused(bad, small_bpe(), [](VocabData& d) { d.sep = INT32_MIN; });
  refused(unknown, small_bpe(), [](VocabData& d) { d.model = "rwkv"; });
  refused(unknown, small_bpe(), [](VocabData& d) { d.model = ""; });
  refused(unknown, small_bpe(), [](VocabData& d) { d.pre = "gpt-3000"; });
  refused(unknown, small_bpe(), [](VocabData& d) { d.pre = "gpt-2 gpt2"; });
  refused(unknown, small_bpe(), [](VocabData& d) { d.pre = " "; });
  refused(unknown, small_bpe(), [](VocabData& d) { d.tokens[261].assign(5000, 'x'); });
  refused(bad, small_spm(true), [](VocabData& d) { d.scores[4] = NAN; });
  refused(bad, small_spm(true), [](VocabData& d) { d.scores[4] = INFINITY; });
  refused(bad, small_spm(true), [](VocabData& d) { d.tokens[20] = "<0xG0>"; });
  refused(bad, small_spm(true), [](VocabData& d) { d.precompiled_charsmap = "abc"; });
  refused(bad, small_spm(true),
          [](VocabData& d) { d.precompiled_charsmap = std::string("\xFF\xFF\xFF\xFF\0\0", 6); });
  refused(unknown, small_unigram(), [](VocabData& d) { d.tokens[4].assign(5000, 'x'); });
  try {
    VocabData data = small_bpe();
    data.pre = "gpt-3000";
    Tokenizer t(data);
  } catch (const Error& e) {
    CHECK(std::strstr(e.what(), "gpt-3000") != nullptr && std::strstr(e.what(), "llama-bpe") != nullptr);
  }
  VocabData data = small_bpe();
  data.pre.clear();  // files of 2023 do not say
  CHECK_IDS(Tokenizer(data).encode("hello 1234", false, false), {259, ' ', '1', '2', '3', '4'});
}

// Bytes changed at random, everywhere: an error or ids in range, and no more.
void test_random_damage() {
  uint32_t state = 7;
  const auto random = [&](size_t n) { return (state = state * 1664525 + 1013904223) / 65536 % n; };
  std::string text = "hello ab<tool> A中\xFF<|im_end|>\n  12 é</s>";
  for (int round = 0; round < 3000; round++) {
    VocabData data = round % 3 == 0   ? small_bpe()
                     : round % 3 == 1 ? small_spm(round % 2 == 0)
                                      : small_unigram();
    for (size_t i = random(4); i-- > 0;) {
      std::string& token = data.tokens[random(data.tokens.size())];
      if (!token.empty() && random(4) != 0) token[random(token.size())] = static_cast<char>(random(256));
      else token.clear();
    }
    for (size_t i = random(6); i-- > 0 && !data.precompiled_charsmap.empty();) {
      data.precompiled_charsmap[random(data.precompiled_charsmap.size())] = static_cast<char>(random(256));
    }
    for (size_t i = random(3); i-- > 0 && !data.merges.empty();) {
      std::string& merge = data.merges[random(data.merges.size())];
      if (!merge.empty()) merge[random(merge.size())] = static_cast<char>(random(256));
    }
    data.types[random(data.types.size())] = static_cast<int32_t>(random(7));
    if (random(3) == 0) data.bos = static_cast<int32_t>(random(300)) - 2;
    text[random(text.size())] = static_cast<char>(random(256));
    try {
      const Tokenizer t(data);
      const Ids ids = t.encode(text, true, random(2) == 0);
      for (const int32_t id : ids) CHECK(id >= 0 && id < t.n_tokens());
      t.decode(ids, true);
    } catch (const Error&) {}
  }
}

// What real users paste: the time is not checked, but more than linear would be noticed.
void test_long() {
  const Tokenizer bpe(small_bpe()), spm(small_spm(true)), unigram(small_unigram());
  for (const char* unit : {"h", "hello", " ", "ab", "1", "é", "\n", "\xFF", "<tool", "a b"}) {
    std::string text;
    while (text.size() < 300000) text += unit;
    CHECK_EQ(bpe.decode(bpe.encode(text, true, false), false), text);
    CHECK_EQ(spm.decode(spm.encode(text, true, false), false), text);
    CHECK(!unigram.encode(text, true, false).empty());
  }
}

}  // namespace

int main() {
  test_more_ids_than_texts();
  test_damaged();
  test_random_damage();
  test_long();
  return check_failures();
}

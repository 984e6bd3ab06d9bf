// Tokenizers: small vocabularies for every rule, and real ones where there are any. The real ones
// (../shared/data/vocab beside the repository, or the folder that POCKETLLAMA_VOCAB names) come with texts
// and their ids.
#include "../src/tokenizer/tokenizer.h"

#include <cstdlib>
#include <fstream>
#include <thread>

#include "../src/gguf.h"
#include "../src/tokenizer/pretokenizer.h"
#include "../src/unicode/unicode.h"
#include "check.h"
#include "vocabularies.h"

using namespace pl;

namespace {

void test_bpe() {
  const Tokenizer t(small_bpe());
  CHECK_IDS(t.encode("", true, true), {});
  CHECK_IDS(t.encode("hello hello", false, false), {259, 260});
  CHECK_IDS(t.encode("hellhelo", false, false), {258, 256, 'l', 'o'});
  CHECK_IDS(t.encode("é", false, false), {0xC3, 0xA9});
  CHECK_EQ(t.eot(), 261);
  CHECK(t.is_end(261) && !t.is_end(263) && !t.is_end(-1) && !t.is_end(1 << 30));
  CHECK(!t.add_bos());
  // R10: only `special` turns names into control tokens.
  for (const char* text : {"<|im_end|>", "a<|im_end|><|im|>", "<|im_end|"}) {
    for (const int32_t id : t.encode(text, false, false)) CHECK(t.type(id) != TokenType::kControl);
  }
  CHECK_IDS(t.encode("hello<|im_end|> hello<|im|><|im_", false, true),
            {259, 261, 260, 263, '<', '|', 'i', 'm', '_'});
  CHECK_IDS(t.encode("<tool>hello<tool", false, false), {262, 259, '<', 't', 'o', 'o', 'l'});
  CHECK_EQ(t.piece(261, false), "");
  CHECK_EQ(t.piece(261, true), "<|im_end|>");
  CHECK_EQ(t.piece(262, false), "<tool>");
  CHECK_EQ(t.piece(260, false), " hello");
  CHECK_EQ(t.find_special("<|im|>"), 263);
  CHECK_EQ(t.find_special("<|im"), -1);
  CHECK_EQ(t.find_special("hello"), -1);
  CHECK_EQ(t.find_special(""), -1);
  // Any bytes come back.
  std::string any;
  for (int i = 0; i < 3000; i++) any.push_back(static_cast<char>(i * 7919 >> 3));
  CHECK_EQ(t.decode(t.encode(any, false, false), false), any);
  for (const int32_t bad : {-1, 264, INT32_MIN, INT32_MAX}) {
    CHECK_THROWS(ErrorKind::kUsage, t.piece(bad, true));
    CHECK_THROWS(ErrorKind::kUsage, t.decode(Ids{1, bad}, false));
    CHECK_THROWS(ErrorKind::kUsage, t.type(bad));
  }

  VocabData data = small_bpe();
  data.add_bos = data.add_eos = true;
  CHECK_IDS(Tokenizer(data).encode("hello", true, false), {261, 259, 261});
  CHECK_IDS(Tokenizer(data).encode("hello", false, false), {259});
  // A token that no merge makes is found only where whole words are looked up.
  data = small_bpe();
  add(data, "xyz");
  CHECK_IDS(Tokenizer(data).encode("xyz", false, false), {'x', 'y', 'z'});
  data.pre = "llama-bpe";
  CHECK_IDS(Tokenizer(data).encode("xyz", false, false), {264});
  CHECK(Tokenizer(data).add_bos());
  // A control token is not made by a merge either, nor by whole words; an end by its name alone is none if
  // merges make it.
  add(data, "<|");
  data.merges.insert(data.merges.end(), {"< |", "<| im_end|>"});
  CHECK_IDS(Tokenizer(data).encode("<|", false, false), {265});
  add(data, "</s>");
  CHECK(Tokenizer(data).is_end(266));
  data.merges.push_back("</ s>");
  CHECK(!Tokenizer(data).is_end(266));
  // Bytes without a token are dropped, or unknown.
  data = small_bpe();
  data.tokens['~'] = "unused";
  CHECK_IDS(Tokenizer(data).encode("a~a", false, false), {'a', 'a'});
  data.unk = 263;
  CHECK_IDS(Tokenizer(data).encode("a~a", false, false), {'a', 263, 'a'});
}

void test_utf8_bpe() {
  VocabData data;
  data.model = "gemma4";
  for (const char* token : {"▁", "a", "b", "▁a", "▁ab", "é"}) add(data, token);  // 0–5
  for (int byte = 0; byte < 256; byte++) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", static_cast<unsigned>(byte));
    add(data, name, kByteType);
  }
  add(data, "<bos>", kControl);  // 262
  data.bos = 262;
  data.merges = {"▁ a", "▁a b"};
  const Tokenizer t(data);
  CHECK_IDS(t.encode(" ab aé中", true, false), {262, 4, 3, 5, 6 + 0xE4, 6 + 0xB8, 6 + 0xAD});
  CHECK_EQ(t.decode(t.encode(" ab aé中\n\xFF", true, false), false), " ab aé中\n\xFF");
}

void test_spm() {
  const Tokenizer t(small_spm(true));
  CHECK(t.bos() == 1 && t.eos() == 2 && t.unk() == 0 && t.add_bos() && !t.add_eos() && t.is_end(2));
  CHECK_IDS(t.encode("", true, false), {1});
  CHECK_IDS(t.encode("ab ab", true, false), {1, 7, 7});
  CHECK_IDS(t.encode("aab", false, false), {3, 4, 6});
  CHECK_IDS(t.encode("ab\n", false, false), {7, 10 + '\n'});
  CHECK_IDS(t.encode("<0x41>", false, false),
            {3, 10 + '<', 10 + '0', 10 + 'x', 10 + '4', 10 + '1', 10 + '>'});
  CHECK_IDS(t.encode("</s>", false, true), {2});
  CHECK_IDS(t.encode("ab</s>ab", false, true), {7, 2, 7});
  for (const int32_t id : t.encode("<s></s><unk>", false, false)) CHECK(id > 2);
  // abb is unused: it merges, and comes apart again as ab + b.
  CHECK_IDS(t.encode("xabb", false, false), {3, 10 + 'x', 6, 5});
  std::string any;
  for (int i = 0; i < 3000; i++) any.push_back(static_cast<char>(i * 7919 >> 3));
  for (const std::string& text :
       {any, std::string(" ab"), std::string("  "), std::string("ab "), std::string("\0a", 2)}) {
    CHECK_EQ(t.decode(t.encode(text, true, false), false), text);
  }
  CHECK_EQ(t.decode(t.encode("ab</s> ab", true, true), true), "<s>ab</s> ab");
  CHECK_EQ(t.piece(7, false), " ab");

  const Tokenizer no_bytes(small_spm(false));
  CHECK_IDS(no_bytes.encode("xyab中文", false, false),
            {3, 0, 6, 0});  // unknown characters together are one token
  VocabData data = small_spm(false);
  data.add_space_prefix = false;
  data.remove_extra_whitespaces = true;
  CHECK_IDS(Tokenizer(data).encode("  ab   ab  ", false, false), {6, 7});
  CHECK_IDS(Tokenizer(data).encode("   ", false, false), {});
  CHECK_IDS(Tokenizer(data).encode(" ▁  ab▁ ▁", false, false), {3, 7});  // the mark is no space that is dropped
  add(data, "▁▁", kUser);
  CHECK_IDS(Tokenizer(data).encode("ab  ab", false, false), {6, 10, 6});
  data = small_spm(true);
  data.types.clear();
  CHECK_IDS(Tokenizer(data).encode("ab\n", false, false), {7, 10 + '\n'});
}

// What only some models do around the names of special tokens.
void test_special_names() {
  VocabData phi = small_spm(true);
  add(phi, "<|user|>", kControl);
  const int32_t user = 266;
  CHECK_IDS(Tokenizer(phi).encode("<|user|> \nab", false, true), {user, 3, 3, 10 + '\n', 6});
  phi.architecture = "phi3";
  CHECK_IDS(Tokenizer(phi).encode("<|user|> \n\u3000ab", false, true), {user, 7});
  CHECK_IDS(Tokenizer(phi).encode("ab <|user|>\n", false, true), {7, 3, user});
  CHECK_IDS(Tokenizer(phi).encode("<s> ab", false, true), {1, 3, 7});
  CHECK_IDS(Tokenizer(phi).encode("<|user|>", false, true), {user});

  VocabData mask = small_spm(false);
  mask.model = "t5";
  add(mask, "<mask>", kControl);
  mask.mask = 10;
  mask.eos = 2;
  CHECK_IDS(Tokenizer(mask).encode("ab \u00A0 <mask> ab", false, true), {7, 10, 7});
  CHECK_IDS(Tokenizer(mask).encode(" <mask>", false, true), {10});

  // Gemma's </s> is a tag of HTML; other models' is an end, whatever the file calls it.
  VocabData gemma = small_spm(false);
  gemma.types[2] = kUser;
  CHECK(Tokenizer(gemma).is_end(2) && Tokenizer(gemma).type(2) == TokenType::kControl);
  gemma.eos = 1;
  const Tokenizer tags(gemma);
  CHECK(!tags.is_end(2) && tags.is_end(1));
  CHECK_IDS(tags.encode("ab</s>ab", false, false), {7, 2, 7});
  CHECK_EQ(tags.decode(Ids{7, 2}, false), "ab</s>");
}

void test_wpm() {
  VocabData data;
  data.model = "bert";
  for (const char* token : {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}) add(data, token, kControl);
  for (const char* token : {"▁un", "aff", "able", "▁,", "▁中", "▁e", "▁i"}) add(data, token);
  data.bos = 2;
  data.sep = 3;
  data.unk = 1;
  data.pad = 0;
  data.mask = 4;
  const Tokenizer t(data);
  CHECK_IDS(t.encode("Unaffable,UN", true, false), {2, 5, 6, 7, 8, 5, 3});
  CHECK_IDS(t.encode("É中ê\te\x01xyz", false, false), {10, 9, 10, 1});
  CHECK_IDS(t.encode("unaffx " + std::string(101, 'e'), false, false), {1, 1});
  CHECK_IDS(t.encode("un [MASK]", false, true), {5, 4});
  CHECK_IDS(t.encode("\xFF\xC3 \u200b", false, false), {});
  CHECK_EQ(t.decode(t.encode("unaffable, un", true, false), false), "unaffable , un");
  data.lowercase = false;
  CHECK_IDS(Tokenizer(data).encode("un UN é", false, false), {5, 1, 1});
  data.strip_accents = true;
  CHECK_IDS(Tokenizer(data).encode("un UN é", false, false), {5, 1, 10});
}

void test_unigram() {
  const Tokenizer t(small_unigram());
  CHECK_IDS(t.encode("ab", true, false), {7, 5, 1});  // ▁a b (−7), not ▁ ab (−8)
  CHECK_IDS(t.encode("aba", false, false), {7, 5, 4});
  CHECK_IDS(t.encode("A", false, false), {7, 5});  // through the character map
  CHECK_IDS(t.encode("  b \n b ", false, false), {3, 5, 3, 2, 3, 5});
  CHECK_IDS(t.encode("xy<x>a", false, false), {3, 2, 9, 7});
  CHECK_EQ(t.decode(t.encode("ab ab", true, false), false), "ab ab");
  VocabData data = small_unigram();
  data.scores.clear();
  CHECK_THROWS(ErrorKind::kInvalidModel, Tokenizer(data));
}

std::string splits(const char* pre, std::string_view text) {
  const std::vector<char32_t> codes = unicode::decode(text);
  std::string out;
  size_t begin = 0;
  for (const size_t end : Pretokenizer(pre).split(codes)) {
    if (begin > 0) out += '|';
    for (; begin < end; begin++) unicode::append_utf8(out, codes[begin]);
  }
  return out;
}

void test_pretokenizers() {
  CHECK_EQ(splits("gpt-2", "I'm  here 'S 1234!\n\n x"), "I|'m| | here| '|S| 1234|!|\n\n| x");
  CHECK_EQ(splits("llama3", "I'M  here\t1234!!\n\n x"), "I|'M| | here|\t|123|4|!!\n\n| x");
  CHECK_EQ(splits("qwen2", "a12 ½"), "a|1|2| |½");
  CHECK_EQ(splits("starcoder", " a12 3"), " a|1|2| |3");
  CHECK_EQ(splits("gpt-4o", "camelCaseXMLHttp don'T x/\n"), "camel|Case|XMLHttp| don'T| x|/\n");
  CHECK_EQ(splits("tekken", "aB12 ABc"), "a|B|1|2| ABc");
  CHECK_EQ(splits("falcon", "a+b==c 12345.6"), "a|+|b|==|c| |123|45|.|6");
  CHECK_EQ(splits("falcon", "4 ½ months ٣٤"), "4| ½| months| ٣٤");
  CHECK_EQ(splits("default", "a+b 1234"), "a|+|b| |123|4");
  CHECK_EQ(splits("default", "a `b"), "a| `|b");
  CHECK_EQ(splits("falcon", "a `b"), "a| |`|b");
  CHECK_EQ(splits("deepseek-llm", "ab 中文12 \n"), "ab| |中文|1|2| |\n");
  CHECK_EQ(splits("deepseek-coder", "ab, 中文12"), "ab|,| |中文|1|2");
  CHECK_EQ(splits("deepseek-v3", "#include ab12345中文カナ é!\n"), "#include| ab|123|45|中文カナ| é|!\n");
  CHECK_EQ(splits("superbpe", "ab 1234567 12"), "ab |1|234|567| |12");
  CHECK_EQ(splits("superbpe", "½9½1234½"), "½9½1|234½");
  CHECK_EQ(splits("tiny_aya", "1234567 1234a 123"), "1|234|567| |123|4|a| |123");
  CHECK_EQ(splits("afmoe", "1234a中é"), "1|234|a|中|é");
  CHECK_EQ(splits("kimi-k2", "ab中文cd12345"), "ab|中文|cd|123|45");
  CHECK_EQ(splits("bloom", "ab,cd e. f"), "ab|,|cd| e|.| f");
  CHECK_EQ(splits("viking", "ab12"), "ab|1|2");
  CHECK_EQ(splits("jais-2", "a       b"), "a|    |  | b");
  CHECK_EQ(splits("chameleon", "IMGIMGABZ<sentinel:12>"), "IMGIMGABZ|<|sentinel|:|1|2|>");
  CHECK_EQ(splits("gemma4", "a b\nc"), "a b\nc");
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void test_real(const std::string& path) {
  const Tokenizer t(read_vocab(Gguf::open(path)));
  const std::string texts = read_file(path + ".inp"), expected = read_file(path + ".out");
  const std::string mark = "\n__ggml_vocab_test__\n";
  size_t line = 0, count = 0;
  for (size_t begin = 0; begin <= texts.size(); count++) {
    const size_t end = std::min(texts.find(mark, begin), texts.size());
    const std::string text = texts.substr(begin, end - begin);
    begin = end + mark.size();
    const size_t line_end = std::min(expected.find('\n', line), expected.size());
    const Ids ids = t.encode(text, false, false);
    CHECK_EQ(shown(ids), expected.substr(line, line_end - line));
    CHECK_EQ(t.decode(ids, false), text);
    line = line_end + 1;
    if (end == texts.size()) break;
  }
  CHECK(count >= 40);
  // R10, with every control token there is.
  for (int32_t id = 0; id < t.n_tokens(); id++) {
    if (t.type(id) != TokenType::kControl) continue;
    const std::string name = t.piece(id, true);
    CHECK(t.find_special(name) == id);
    for (const std::string& text : {name, "a" + name + " b"}) {
      for (const int32_t found : t.encode(text, false, false)) CHECK(t.type(found) != TokenType::kControl);
    }
    CHECK_IDS(t.encode(name + name, false, true), ({id, id}));
  }
  // One tokenizer, many threads.
  const Ids alone = t.encode(texts, true, true);
  std::vector<std::thread> threads;
  std::vector<Ids> together(8);
  for (Ids& ids : together) threads.emplace_back([&] { ids = t.encode(texts, true, true); });
  for (std::thread& thread : threads) thread.join();
  for (const Ids& ids : together) CHECK(ids == alone);
}

}  // namespace

int main() {
  test_bpe();
  test_utf8_bpe();
  test_spm();
  test_special_names();
  test_wpm();
  test_unigram();
  test_pretokenizers();
  const char* named = std::getenv("POCKETLLAMA_VOCAB");
  const std::string here = __FILE__;
  const std::string folder =
      named != nullptr ? named : here.substr(0, here.find_last_of("/\\") + 1) + "../../../shared/data/vocab";
  for (const char* name : {"llama-spm", "llama-bpe", "gpt-2", "qwen2"}) {
    const std::string path = folder + "/ggml-vocab-" + name + ".gguf";
    if (std::ifstream(path)) {
      test_real(path);
    } else {
      std::printf("skipped, not found: %s\n", path.c_str());
    }
  }
  return check_failures();
}

#include "pretokenizer.h"

#include <algorithm>

#include "../error.h"

namespace pl {

namespace {

// Passes that are no regular expression: runs of digits (\p{Nd}) are cut into groups of three, counted from
// the right, as \d{1,3}(?=(\d{3})*…) would, which takes quadratic time. The third only cuts before each group
// of three, as (?=(\d{3})+(?!\d)) would.
constexpr char kThrees[] = "\1", kThreesBeforeBoundary[] = "\2", kBeforeThrees[] = "\3";

#define CONTRACTION "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define LETTERS R"([^\r\n\p{L}\p{N}]?\p{L}+)"
#define SPACES R"(\s*[\r\n]+|\s+(?!\S)|\s+)"
#define SYMBOLS R"( ?[^\s\p{L}\p{N}]+[\r\n]*)"
#define UPPER R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])"
#define LOWER R"([\p{Ll}\p{Lm}\p{Lo}\p{M}])"
// Words as camelCase has them: Upper*lower+ or Upper+lower*, each with what may follow.
#define CASED(tail) \
  R"([^\r\n\p{L}\p{N}]?)" UPPER "*" LOWER "+" tail R"(|[^\r\n\p{L}\p{N}]?)" UPPER "+" LOWER "*" tail
#define CASED_REST R"(| ?[^\s\p{L}\p{N}]+[\r\n/]*|)" SPACES

constexpr char kGpt2[] = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr char kLlama3[] = CONTRACTION "|" LETTERS R"(|\p{N}{1,3}|)" SYMBOLS "|" SPACES;
constexpr char kQwen2[] = CONTRACTION "|" LETTERS R"(|\p{N}|)" SYMBOLS "|" SPACES;
constexpr char kQwen35[] =
    CONTRACTION R"(|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|)" SPACES;
constexpr char kUfakzeka[] = LETTERS R"(|\p{N}|)" SYMBOLS "|" SPACES;
constexpr char kSeedCoder[] = CONTRACTION "|" LETTERS R"(|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|)" SPACES;
constexpr char kMiniCpm5[] = CONTRACTION "|" LETTERS R"(|\p{N}+|)" SYMBOLS "|" SPACES;
constexpr char kGpt4o[] = CASED(CONTRACTION "?") R"(|\p{N}{1,3})" CASED_REST;
constexpr char kTekken[] = CASED("") R"(|\p{N})" CASED_REST;
constexpr char kYoutu[] = CASED(CONTRACTION "?") R"(|\p{N})" CASED_REST;
constexpr char kYoutuAsian[] =
    R"([\x{AC00}-\x{D7A3}\x{3131}-\x{318E}]+)"
    R"(|[\x{FF01}\x{2026}\x{201C}\x{201D}\x{2018}\x{2019}\x{2014}\x{FF1A}\x{FF1B}\x{FF0C}\x{3001}-\x{303F})"
    R"(\x{FE30}-\x{FE4F}]+)"
    R"(|[\x{3105}-\x{312F}]+|[\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+)";
constexpr char kBailing[] =
    R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)";
constexpr char kExaoneMoe[] =
    CONTRACTION R"(|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?)"
                R"(|\s*[\r\n]|\s+(?!\S)|\s+)";
constexpr char kJais2[] = CONTRACTION
    "|" LETTERS R"(|\p{N}{1,3}|)" SYMBOLS
    R"(|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S))"
    R"(|\s{4}(?!\S)|\s{1,2}(?!\S)|\s)";
#define NOT_HAN_UPPER R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]])"
#define NOT_HAN_LOWER R"([\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]])"
constexpr char kKimiK2[] = R"(\p{Han}+|[^\r\n\p{L}\p{N}]?)" NOT_HAN_UPPER "*" NOT_HAN_LOWER "+" CONTRACTION
                           R"(?|[^\r\n\p{L}\p{N}]?)" NOT_HAN_UPPER "+" NOT_HAN_LOWER "*" CONTRACTION
                           R"(?|\p{N}{1,3}|)" SYMBOLS "|" SPACES;
constexpr char kBloom[] = R"( ?[^(\s|[.,!?\x{2026}\x{3002}\x{FF0C}\x{3001}\x{964}\x{6D4}\x{60C}])]+)";
constexpr char kPunctuation[] = R"([\p{P}$+<=>^~|`]+)", kDefaultPunctuation[] = R"([\p{P}$+<=>^~|]+)";

constexpr char kDigit[] = R"(\p{N})", kDigits[] = R"(\p{N}+)", kThreeDigits[] = "[0-9][0-9][0-9]";
constexpr char kAsciiDigits[] = "[0-9]+";
constexpr char kUpTo3Digits[] = R"(\p{N}{1,3})";
constexpr char kNewline[] = R"([\r\n])", kLines[] = R"([^\n]+|[\n]+)";

// The cased letters of Unicode 11, as the tokenizer was published with.
constexpr char kDeepseekLetters[] =
    R"(\s?[A-Za-z\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF}\x{1C4}-\x{293}\x{295}-\x{2AF})"
    R"(\x{370}-\x{373}\x{376}\x{377}\x{37B}-\x{37D}\x{37F}\x{386}\x{388}-\x{38A}\x{38C}\x{38E}-\x{3A1}\x{3A3}-\x{3F5})"
    R"(\x{3F7}-\x{481}\x{48A}-\x{52F}\x{531}-\x{556}\x{10A0}-\x{10C5}\x{13A0}-\x{13F5}\x{13F8}-\x{13FD})"
    R"(\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF}\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77}\x{1D79}-\x{1D9A}\x{1E00}-\x{1F15})"
    R"(\x{1F18}-\x{1F1D}\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D}\x{1F50}-\x{1F57}\x{1F59}\x{1F5B}\x{1F5D}\x{1F5F}-\x{1F7D})"
    R"(\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4}\x{1FC6}-\x{1FCC}\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB})"
    R"(\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4}\x{1FF6}-\x{1FFC}\x{2102}\x{2107}\x{210A}-\x{2113}\x{2115}\x{2119}-\x{211D})"
    R"(\x{2124}\x{2126}\x{2128}\x{212A}-\x{212D}\x{212F}-\x{2134}\x{2139}\x{213C}-\x{213F}\x{2145}-\x{2149}\x{214E})"
    R"(\x{2183}\x{2184}\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4}\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3}\x{A640}-\x{A66D})"
    R"(\x{A680}-\x{A69B}\x{A722}-\x{A76F}\x{A771}-\x{A787}\x{A78B}-\x{A78E}\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06})"
    R"(\x{FB13}-\x{FB17}\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A}\x{10400}-\x{1044F}\x{104B0}-\x{104D3}\x{104D8}-\x{104FB})"
    R"(\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2}\x{118A0}-\x{118DF}\x{1E900}-\x{1E943}]+)";
constexpr char kDeepseekSymbols[] =
    R"(\s?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3000}-\x{3002}]+)";
constexpr char kDeepseekAsian[] = R"([\x{4E00}-\x{9FA5}\x{800}-\x{4E00}\x{AC00}-\x{D7FF}]+)";
constexpr char kDeepseek3Asian[] = R"([\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+)";
#define DEEPSEEK3_WORDS \
  R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+)"
constexpr char kDeepseek3[] = DEEPSEEK3_WORDS R"([\r\n]*|)" SPACES;
constexpr char kSpark25[] = DEEPSEEK3_WORDS R"(|[\r\n]|\s+(?!\S)|\s+)";
constexpr char kAfmoeAsian[] =
    R"([\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{F900}-\x{FAFF}\x{3040}-\x{309F}\x{30A0}-\x{30FF}\x{FF65}-\x{FF9F})"
    R"(\x{2F00}-\x{2FDF}\x{E00}-\x{E7F}\x{E80}-\x{EFF}\x{1780}-\x{17FF}\x{1000}-\x{109F}\x{AA60}-\x{AA7F})"
    R"(\x{A9E0}-\x{A9FF}\x{AC00}-\x{D7AF}\x{1100}-\x{11FF}]+)";

constexpr PretokenizerTraits kPlain{};
constexpr PretokenizerTraits kWhole{.whole_words = true};
constexpr PretokenizerTraits kWholeBos{.whole_words = true, .add_bos = true};
constexpr PretokenizerTraits kBos{.add_bos = true};
constexpr PretokenizerTraits kUtf8{.bytes = false};
constexpr PretokenizerTraits kUtf8Bos{.add_bos = true, .bytes = false};

struct Row {
  const char* names;  // separated by spaces
  PretokenizerTraits traits;
  const char* passes[7];  // up to the first nullptr
};

constexpr Row kTable[] = {
    {"default", kPlain, {kDefaultPunctuation, kGpt2, kDigits, kThreeDigits}},
    {"gpt-2 gpt2 gpt-neox olmo mpt jais phi-2 modern-bert jina-es jina-de jina-v2-es jina-v2-de jina-v1-en "
     "jina-v2-code "
     "roberta-bpe gigachat a.x-4.0 mellum trillion granite-docling exaone4",
     kPlain,
     {kGpt2}},
    {"llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano", kWholeBos, {kLlama3}},
    {"smollm3 glm4 glm5", kWhole, {kLlama3}},
    {"dbrx smaug-bpe smaug chatglm-bpe", kPlain, {kLlama3}},
    {"qwen2 stablelm2 deepseek-r1-qwen megrez hunyuan grok-2 solar-open kormo f2llmv2", kPlain, {kQwen2}},
    {"qwen35", kPlain, {kQwen35}},
    {"ufakzeka", kPlain, {kUfakzeka}},
    {"seed-coder", kPlain, {kSeedCoder}},
    {"minicpm5", kWhole, {kUpTo3Digits, kMiniCpm5}},
    {"gpt-4o llama4 minimax-m2 kanana2 talkie", kPlain, {kGpt4o}},
    {"granite-embed-multi-97m", kWhole, {kGpt4o}},
    {"tiny_aya cohere2moe", kPlain, {kThreesBeforeBoundary, kGpt4o}},
    {"tekken", kWholeBos, {kTekken}},
    {"youtu", kWhole, {kYoutuAsian, kYoutu}},
    {"kimi-k2", kPlain, {kKimiK2}},
    {"starcoder refact granite command-r smollm codeshell exaone minerva-7b mellum2",
     kPlain,
     {kDigit, kGpt2}},
    // Its own file cuts at digits behind the bytes' step: at ASCII's, and within ½ or ², which no merge of its vocabulary
    // joins anyway. The digits of other scripts are none there.
    {"falcon", kPlain, {kPunctuation, kGpt2, kAsciiDigits, kThreeDigits}},
    {"deepseek-llm",
     kPlain,
     {kNewline, kDeepseekLetters, kDeepseekSymbols, R"(\s+$)", kDeepseekAsian, kDigit}},
    {"deepseek-coder", kPlain, {kNewline, R"(\s?\p{L}+)", R"(\s?\p{P}+)", kDeepseekAsian, kDigit}},
    {"deepseek-v3 hunyuan-dense joyai-llm hy_v4", kPlain, {kUpTo3Digits, kDeepseek3Asian, kDeepseek3}},
    {"spark2_5", kPlain, {kUpTo3Digits, kDeepseek3Asian, kSpark25, kDigit}},
    {"afmoe", kPlain, {kThrees, kAfmoeAsian, kDeepseek3}},
    {"superbpe", kPlain, {kDigits, kBeforeThrees}},
    {"bloom poro-chat gpt3-finnish", kPlain, {kBloom}},
    {"viking", kPlain, {kBloom, kDigit}},
    {"jais-2", kPlain, {kJais2}},
    {"exaone-moe", kPlain, {kExaoneMoe}},
    {"bailingmoe bailingmoe2 llada-moe", kPlain, {kBailing}},
    {"laguna", kPlain, {kLines, kQwen2}},
    {"chameleon",
     kBos,
     {"<sentinel:[0-9]+>", "IMGIMG[A-I]{1,4}Z", R"([\t\n]|    |  )", kDigit, R"([\p{P}!-/:-@\[-`{-~])",
      kGpt2}},
    {"gemma4 granite-embed-multi-311m", kUtf8Bos, {}},
    {"sarvam-moe", kUtf8, {}},
};

bool lists(std::string_view names, std::string_view name) {
  while (!names.empty()) {
    const size_t space = std::min(names.find(' '), names.size());
    if (names.substr(0, space) == name) return true;
    names.remove_prefix(std::min(space + 1, names.size()));
  }
  return false;
}

const Row& row_of(std::string_view name) {
  std::string known;
  for (const Row& row : kTable) {
    if (!name.empty() && lists(row.names, name)) return row;
    known += std::string(" ") + row.names;
  }
  fail(ErrorKind::kUnsupported, "the pre-tokenizer '%.100s' is not known; known are:%s",
       std::string(name).c_str(), known.c_str());
}

void split_threes(std::span<const char32_t> text, size_t begin, size_t end, char how, std::vector<size_t>& ends) {
  static const unicode::CharBitmap digit(unicode::CharSet::of_categories(1u << unicode::kNd));
  static const unicode::CharBitmap word(unicode::CharSet::word());
  size_t unmatched = begin;
  for (size_t i = begin; i < end;) {
    size_t after = i;
    while (after < end && digit.contains(text[after])) after++;
    if (after == i || (how == kThreesBeforeBoundary[0] && after < end && word.contains(text[after]))) {
      i = after + (after == i);
      continue;
    }
    if (how == kBeforeThrees[0]) {
      for (size_t next = i + (after - i) % 3; next < after; next += 3) {
        if (next > begin) ends.push_back(next);
      }
      i = after;
      continue;
    }
    if (i > unmatched) ends.push_back(i);
    for (size_t next = i + (after - i + 2) % 3 + 1; next <= after; next += 3) ends.push_back(next);
    unmatched = i = after;
  }
  if (unmatched < end) ends.push_back(end);
}

}  // namespace

Pretokenizer::Pretokenizer(std::string_view name) : traits_(row_of(name).traits) {
  for (const char* pass : row_of(name).passes) {
    if (pass == nullptr) break;
    if (pass[0] > '\3') {
      passes_.push_back({.regex = unicode::Regex(pass)});
    } else {
      passes_.push_back({.regex = {}, .threes = pass[0]});
    }
  }
}

const PretokenizerTraits& Pretokenizer::traits(std::string_view name) { return row_of(name).traits; }

std::vector<size_t> Pretokenizer::split(std::span<const char32_t> text) const {
  std::vector<size_t> ends, finer;
  if (text.empty()) return ends;
  ends.push_back(text.size());
  for (const Pass& pass : passes_) {
    finer.clear();
    size_t begin = 0;
    for (const size_t end : ends) {
      if (pass.regex) {
        pass.regex->split(text, begin, end, finer);
      } else {
        split_threes(text, begin, end, pass.threes, finer);
      }
      begin = end;
    }
    std::swap(ends, finer);
  }
  return ends;
}

}  // namespace pl

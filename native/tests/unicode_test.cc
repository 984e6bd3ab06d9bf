// Code points, sets of them, and regular expressions.
#include "../src/unicode/regex.h"
#include "../src/unicode/tables.h"
#include "../src/unicode/unicode.h"
#include "check.h"

using namespace pl;
using namespace pl::unicode;

namespace {

std::string utf8(const std::vector<char32_t>& codes) {
  std::string out;
  for (const char32_t c : codes) append_utf8(out, c);
  return out;
}

// The pieces that a pattern cuts a text into, with | between.
std::string cut(std::string_view pattern, std::string_view text) {
  const std::vector<char32_t> codes = decode(text);
  std::vector<size_t> ends;
  Regex(pattern).split(codes, 0, codes.size(), ends);
  std::string out;
  size_t begin = 0;
  for (const size_t end : ends) {
    if (begin > 0) out += '|';
    for (; begin < end; begin++) append_utf8(out, codes[begin]);
  }
  CHECK_EQ(begin, codes.size());
  return out;
}

void test_utf8() {
  for (char32_t c = 0; c <= kMax; c += c < 0x3000 ? 1 : 97) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string text;
    append_utf8(text, c);
    size_t length = 0;
    CHECK(decode(text, length) == c);
    CHECK_EQ(length, text.size());
    CHECK_EQ(length, utf8_length(c));
    // Cut short, none of it is a character.
    for (size_t n = 1; n < text.size(); n++) CHECK_EQ(decode(text.substr(0, n)).size(), n);
  }
  // Overlong forms, surrogates, beyond the last code point, lone continuations: one code point per byte.
  for (const char* bad :
       {"\xC0\x80", "\xC1\xBF", "\xE0\x80\x80", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xED\xBF\xBF",
        "\xF0\x80\x80\x80", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "\x80", "\xBF\xBF"}) {
    const std::string_view text = bad;
    const std::vector<char32_t> codes = decode(text);
    CHECK_EQ(codes.size(), text.size());
    for (size_t i = 0; i < codes.size(); i++)
      CHECK(codes[i] == kInvalidByte + static_cast<unsigned char>(text[i]));
  }
}

void test_properties() {
  CHECK_EQ(std::string(kVersion), "16.0.0");
  CHECK(category('a') == kLl && category('A') == kLu && category('0') == kNd && category(0x2160) == kNl);
  CHECK(category(0x301) == kMn && category(0x4E2D) == kLo && category(0x1F999) == kSo &&
        category(0x378) == kCn);
  CHECK(category(kMax) == kCn && category(0xFFFD) == kSo && category(kInvalidByte + 0xFF) == kSo &&
        category(0) == kCc);
  size_t total = 0;
  for (unsigned c = 0; c < kCategoryCount; c++) {
    const CharSet set = CharSet::of_categories(1u << c);
    for (const CharSet::Range& r : set.ranges()) total += r.last - r.first + 1;
  }
  CHECK_EQ(total, size_t{kMax} + 1);
  const auto lower = [](const char* text) {
    std::vector<char32_t> out;
    for (const char32_t c : decode(text)) append_lower(out, c);
    return utf8(out);
  };
  CHECK_EQ(lower("ÀÉ ΣΣ Ǆǅ ĀāĂ ẞ İ ԱՖ Ⅻ Ⓐ 𐐀 Ꭰ Ა中1z"), "àé σσ ǆǆ āāă ß i̇ աֆ ⅻ ⓐ 𐐨 ꭰ ა中1z");
  CHECK_EQ(utf8(decompose(decode("é ế 각 가 Å"))),
           "e\u0301 e\u0302\u0301 \u1100\u1161\u11A8 \u1100\u1161 A\u030A");
  CHECK_EQ(utf8(decompose(decode("a\u0301\u0323b"))), "a\u0323\u0301b");  // marks in canonical order
  CharSet han;
  CHECK(CharSet::named("Han", han) && han.contains(0x4E2D) && han.contains(0x3005) && !han.contains(0x3042));
  CHECK(!CharSet::named("Latin", han));
  const CharBitmap letters(CharSet::of_categories(1u << kLu | 1u << kLl));
  for (char32_t c = 0; c <= 0x20000; c++)
    CHECK_EQ(letters.contains(c), category(c) == kLu || category(c) == kLl);
}

void test_regex() {
  CHECK_EQ(cut("a", "banana"), "b|a|n|a|n|a");
  CHECK_EQ(cut("a|ab", "abab"), "a|b|a|b");  // the first alternative wins, not the longest
  CHECK_EQ(cut("ab|a", "abaab"), "ab|a|ab");
  CHECK_EQ(cut("(?:a|ab)(?:c|bcd)", "abcd"), "abcd");
  CHECK_EQ(cut("a{2,3}", "aaaaaaa"), "aaa|aaa|a");
  CHECK_EQ(cut("(?:ab){2}", "ababab"), "abab|ab");
  CHECK_EQ(cut("(?:ab){1,2}c?", "abababc"), "abab|abc");
  CHECK_EQ(cut("x*y", "xxyxz"), "xxy|xz");
  CHECK_EQ(cut("[a-c]+[c-d]", "abcabx"), "abc|abx");  // gives back
  CHECK_EQ(cut("[a-c]++c", "abc"), "abc");            // gives nothing back: no match
  CHECK_EQ(cut("(?:a|b)++b|a", "abb"), "a|bb");
  CHECK_EQ(cut("a?+a", "aab"), "aa|b");
  CHECK_EQ(cut(R"(\s+(?!\S)|\s+)", "a   b  "), "a|  | |b|  ");
  CHECK_EQ(cut("a(?=b)", "abac"), "a|bac");
  CHECK_EQ(cut("(?i:'s|'t)", "x'S'ſ'T's"), "x|'S|'ſ|'T|'s");
  CHECK_EQ(cut("(?i:K)", "k\u212AK"), "k|\u212A|K");
  CHECK_EQ(cut("[^ab]+", "axyb"), "a|xy|b");
  CHECK_EQ(cut(R"([\]\-^a]+)", "x]-^ay"), "x|]-^a|y");
  CHECK_EQ(cut("[a-]+", "b-ab"), "b|-a|b");
  CHECK_EQ(cut("[^(x|[.,])]+", "a(b)c,d|e"), "a|(|b|)|c|,|d|||e");
  CHECK_EQ(cut(R"([\p{L}&&[^\p{Han}]]+)", "ab中c"), "ab|中|c");
  CHECK_EQ(cut(R"(\p{Lu}\p{Ll}+|\P{L}+)", "Éa12Bc"), "Éa|12|Bc");
  CHECK_EQ(cut(R"(\d+|\w+)", "٣٤a_é 1"), "٣٤|a_é| |1");
  CHECK_EQ(cut(R"(\x{1F999}|\u4e2d)", "a🦙中"), "a|🦙|中");
  CHECK_EQ(cut(R"(\s+$)", "a  \n b \n"), "a|  |\n b| \n");  // before a newline too, as in Ruby
  CHECK_EQ(cut("^a", "aa\na"), "a|a\n|a");
  CHECK_EQ(cut(R"(\bfoo\b)", "foo foobar foo"), "foo| foobar |foo");
  CHECK_EQ(cut(R"(\Bo)", "o foo"), "o f|o|o");
  CHECK_EQ(cut(".", "a\nb"), "a|\n|b");
  CHECK_EQ(cut("x", ""), "");
  CHECK_EQ(cut("(?:)", "ab"), "ab");  // empty matches cut nothing
  CHECK_EQ(cut(R"([^\s])", "\xFF\xE4\xB8"), "\uFFFD|\uFFFD|\uFFFD");
  for (const char* bad : {"(",
                          ")",
                          "a)",
                          "[a",
                          "a**",
                          "(?:a?)*",
                          "*",
                          "a{",
                          "a{2",
                          "a{3,2}",
                          "a{1001}",
                          "\\q",
                          "\\",
                          "\\p{Xx}",
                          "\\p{L",
                          "\\x{110000}",
                          "\\x{}",
                          "[b-a]",
                          "[\\d-a]",
                          "a+?",
                          "(?<x>a)",
                          "(?P<n>a)",
                          "((((((((((((((((((((((((((((((((((((((((((((((((((((a"}) {
    CHECK_THROWS(ErrorKind::kInternal, Regex(bad));
  }
}

// Texts that make a backtracking matcher without a memory take quadratic or exponential time.
void test_regex_is_linear() {
  const size_t n = 200000;
  const std::string spaces(n, ' '), letters(n, 'a');
  CHECK_EQ(cut(R"(\s+$)", spaces + "x"), spaces + "x");
  CHECK_EQ(cut("a+b", letters), letters);
  CHECK_EQ(cut("(?:a|aa)+b", letters), letters);
  CHECK_EQ(cut("a*a*a*a*b", letters), letters);
  CHECK_EQ(cut("(?:a+c?)+b", letters), letters);
  CHECK_EQ(cut("(?:aa?)+(?!a)b", letters), letters);
  CHECK_EQ(cut("(?:[ab]+c)*d", letters), letters);
  CHECK_EQ(cut(R"(\s*[\r\n]|\s)", std::string(2000, ' ')).size(), size_t{3999});
  // Beyond the proof: refused, not waited for.
  CHECK_THROWS(ErrorKind::kUnsupported, cut("(?=a+b)a", letters + "b"));
}

// The memory of failures, which only long searches turn on, changes no result: after a run of q's, which cost
// quadratic time, it is on for the rest of the text.
void test_memory_changes_nothing() {
  const char* pattern = R"((?:a|ab)+c?(?!d)|b(?=\s+$)|\s+|[ab]+d|a++b?|(?:[abc]+ ?)+d|#|q+z)";
  const std::string costly(3000, 'q');
  uint32_t state = 1;
  const auto random = [&] { return (state = state * 1664525 + 1013904223) >> 16; };
  for (int round = 0; round < 300; round++) {
    std::string part;
    for (uint32_t i = random() % 40; i-- > 0;) part.push_back("aaabbcd "[random() % 8]);
    CHECK_EQ(cut(pattern, costly + "#" + part), costly + "|" + cut(pattern, "#" + part));
  }
}

}  // namespace

int main() {
  test_utf8();
  test_properties();
  test_regex();
  test_regex_is_linear();
  test_memory_changes_nothing();
  return check_failures();
}

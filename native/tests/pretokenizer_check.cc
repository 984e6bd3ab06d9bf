// pretokenizer_check PRE: where the pre-tokenizer of that name cuts texts, asked over stdin. A question: a
// length and the text's bytes. Its answer: a count, and the end of each word in code points. All numbers are
// 32 bits, little-endian. Status 1 and a message on an error.
#include <cstdint>
#include <cstdio>
#include <string>

#include "../src/error.h"
#include "../src/tokenizer/pretokenizer.h"
#include "../src/unicode/unicode.h"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  try {
    const pl::Pretokenizer pretokenizer(argv[1]);
    uint32_t size;
    while (std::fread(&size, sizeof size, 1, stdin) == 1) {
      std::string text(size, '\0');
      if (size != 0 && std::fread(text.data(), size, 1, stdin) != 1) return 2;
      std::vector<uint32_t> answer{0};
      for (const size_t end : pretokenizer.split(pl::unicode::decode(text))) {
        answer.push_back(static_cast<uint32_t>(end));
      }
      answer[0] = static_cast<uint32_t>(answer.size() - 1);
      std::fwrite(answer.data(), sizeof answer[0], answer.size(), stdout);
    }
  } catch (const pl::Error& e) {
    std::fprintf(stderr, "error %d: %s\n", static_cast<int>(e.kind), e.what());
    return 1;
  }
  return 0;
}

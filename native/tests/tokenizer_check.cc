// tokenizer_check FILE [PRE]: the GGUF file's tokenizer (with another pre-tokenizer, if one is named), asked
// over stdin. A question: flags (1 bos, 2 special, 4 render special), a length, the text's bytes. Its answer:
// a count, the ids, a length, the bytes that the ids decode to. All numbers are 32 bits, little-endian.
// Status 1 and a message on an error.
#include <cstdint>
#include <cstdio>

#include "../src/error.h"
#include "../src/gguf.h"
#include "../src/tokenizer/tokenizer.h"

namespace {

void put(const void* data, size_t size, size_t count) {
  const uint32_t n = static_cast<uint32_t>(count);
  std::fwrite(&n, sizeof n, 1, stdout);
  std::fwrite(data, size, count, stdout);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  try {
    pl::VocabData data = pl::read_vocab(pl::Gguf::open(argv[1]));
    if (argc > 2) data.pre = argv[2];
    const pl::Tokenizer tokenizer(data);
    uint32_t head[2];
    while (std::fread(head, sizeof head, 1, stdin) == 1) {
      std::string text(head[1], '\0');
      if (head[1] != 0 && std::fread(text.data(), head[1], 1, stdin) != 1) return 2;
      const std::vector<int32_t> ids = tokenizer.encode(text, (head[0] & 1) != 0, (head[0] & 2) != 0);
      const std::string back = tokenizer.decode(ids, (head[0] & 4) != 0);
      put(ids.data(), sizeof(int32_t), ids.size());
      put(back.data(), 1, back.size());
    }
  } catch (const pl::Error& e) {
    std::fprintf(stderr, "error %d: %s\n", static_cast<int>(e.kind), e.what());
    return 1;
  }
  return 0;
}

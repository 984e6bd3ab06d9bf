// quant_dump TYPE-NUMBER < blocks > floats: dequantizes whole blocks from standard input, for comparing with
// another program.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "../src/error.h"
#include "../src/quant/dequant.h"

int main(int argc, char** argv) {
  const pl::TypeInfo* const type =
      argc == 2 ? pl::type_info(static_cast<uint32_t>(std::atoi(argv[1]))) : nullptr;
  if (type == nullptr) return 2;
  std::vector<unsigned char> in;
  for (int c = std::getchar(); c != EOF; c = std::getchar()) in.push_back(static_cast<unsigned char>(c));
  if (in.size() % type->block_bytes != 0) return 2;
  std::vector<float> out(in.size() / type->block_bytes * type->block_elements);
  try {
    pl::dequantize_row(type->type, in.data(), out.data(), static_cast<int64_t>(out.size()));
  } catch (const pl::Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
  return std::fwrite(out.data(), sizeof(float), out.size(), stdout) == out.size() ? 0 : 1;
}

// gguf_check FILE…: opens each file as the engine would, and prints a line for each: "ok" with the facts, or
// "error" with its kind and message. Status 0 if all are valid, else 1.
#include <cstdio>

#include "../src/error.h"
#include "../src/gguf.h"

int main(int argc, char** argv) {
  int status = 0;
  for (int i = 1; i < argc; ++i) {
    try {
      const pl::Gguf file = pl::Gguf::open(argv[i]);
      std::printf("ok version %u, %zu keys, %zu tensors, %llu bytes\n", file.version(), file.values().size(),
                  file.tensors().size(), static_cast<unsigned long long>(file.total_bytes()));
    } catch (const pl::Error& e) {
      std::printf("error %d: %s\n", static_cast<int>(e.kind), e.what());
      status = 1;
    }
  }
  return status;
}

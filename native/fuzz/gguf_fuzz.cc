// libFuzzer target for the GGUF loader: clang++ -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "../src/error.h"
#include "../src/gguf.h"

namespace {

// What is read is kept here, so that no reading is optimized away.
volatile uint64_t sink;

// Asks for a value in every way there is: each may refuse, none may do worse.
void ask(const pl::Gguf& file, std::string_view key) {
  const auto attempt = [](auto call) {
    try {
      call();
    } catch (const pl::Error&) {
    }
  };
  attempt([&] { sink = sink + file.u64(key).value_or(0); });
  attempt([&] { sink = sink + static_cast<uint64_t>(file.i32(key).value_or(0)); });
  attempt([&] { sink = sink + (file.f32(key).value_or(0) > 0); });
  attempt([&] { sink = sink + file.boolean(key).value_or(false); });
  attempt([&] { sink = sink + file.str(key).value_or("").size(); });
  attempt([&] { sink = sink + file.i32s(key)->size(); });
  attempt([&] { sink = sink + file.f32s(key)->size(); });
  attempt([&] { sink = sink + file.bools(key)->size(); });
  attempt([&] { sink = sink + file.u8s(key)->size(); });
  attempt([&] { sink = sink + file.require_u64(key, 1, 9); });
  attempt([&] {
    const std::vector<std::string_view> strings = file.strings(key).value();
    for (const std::string_view s : strings) {
      for (const char c : s) sink = sink + static_cast<uint64_t>(c);
    }
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const pl::Gguf file = pl::Gguf::view({reinterpret_cast<const std::byte*>(data), size}, "fuzzed");
    for (const pl::GgufValue& v : file.values()) ask(file, v.key);
    for (const pl::TensorInfo& t : file.tensors()) {
      if (file.tensor(t.name) != &t) __builtin_trap();
      for (uint64_t i = 0; i < t.nbytes; ++i) sink = sink + static_cast<uint64_t>(t.data[i]);
    }
  } catch (const pl::Error&) {
  }
  return 0;
}

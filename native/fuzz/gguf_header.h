// A GGUF header as a fuzz target sees it: taken apart into entries that can be changed one by one, and put together
// again. It does not know what is valid, so that it can write what is not.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fuzz {

enum ValueType : uint32_t { kUint32 = 4, kInt32 = 5, kFloat32 = 6, kBool = 7, kString = 8, kArray = 9, kUint64 = 10 };

struct Key {
  std::string name;
  uint32_t type = 0;
  std::string value;  // as it lies in the file; of an array with its entries' type and number
};

struct Tensor {
  std::string name;
  std::vector<uint64_t> ne;
  uint32_t type = 0;
  uint64_t offset = 0;
};

template <class T>
std::string raw(T n) {
  return std::string(reinterpret_cast<const char*>(&n), sizeof n);
}
inline std::string raw_text(std::string_view s) { return raw<uint64_t>(s.size()) + std::string(s); }

// Of a value of this type; 0 for a string, an array and what is no type.
size_t scalar_bytes(uint32_t type);

struct Header {
  std::vector<Key> keys;
  std::vector<Tensor> tensors;

  // False where the bytes end too early or an array lies in an array.
  bool read(std::string_view bytes);
  // Everything but the tensors' data, padded as it must be before them.
  std::string write() const;
};

}  // namespace fuzz

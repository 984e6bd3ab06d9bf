// The validator of GGUF files: one file's bytes → its metadata and tensors, or an Error that says what was
// expected, what was found and at which byte. Nothing is allocated on a file's word: counts are held against
// the bytes that remain.
//
//   magic, version, n_tensors, n_keys | keys: name, type, value | tensors: name, shape, type, offset |
//   padding | data
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gguf.h"

namespace pl {

constexpr uint64_t kMaxHeader = uint64_t{256} << 20;  // bytes; the largest in use are near 32 MiB
constexpr uint64_t kMaxEntries = uint64_t{8} << 20;   // of all arrays together; vocabularies reach 1.3 million
constexpr uint64_t kMaxKeys = uint64_t{1} << 16;
constexpr uint64_t kMaxTensors = uint64_t{1} << 18;
constexpr uint64_t kMaxKeyName = 65535;                // bytes
constexpr uint64_t kMaxTensorName = 63;                // bytes
constexpr uint64_t kMaxAlignment = uint64_t{1} << 20;  // bytes
constexpr int kMaxArrayDepth = 3;                      // arrays in arrays

struct GgufPart {
  uint32_t version = 0;
  std::vector<GgufValue> values;
  std::vector<TensorInfo> tensors;
};

// `name` is the file's, for messages. The result's views lead into `bytes`.
GgufPart parse_gguf(std::span<const std::byte> bytes, const std::string& name);

// Bytes of a number of this type; 0 for strings and arrays.
uint32_t value_size(ValueType type);
const char* value_type_name(ValueType type);

// The bytes at `p`, which may be any address, as a number.
template <class T>
T load(const std::byte* p) {
  static_assert(std::endian::native == std::endian::little, "GGUF is read as it lies in memory");
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

// Text of a file as a message may show it: in quotes, escaped and short.
std::string shown(std::string_view text);

}  // namespace pl

// A GGUF file (version 2 or 3, little-endian), opened and checked as if it were hostile: after open() every
// value, name, shape and span of tensor bytes can be believed. What is checked, and in which words it is
// refused: gguf_parse.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "file.h"
#include "types.h"

namespace pl {

// The type of a metadata value; the numbers are the format's.
enum class ValueType : uint32_t {
  U8 = 0, I8 = 1, U16 = 2, I16 = 3, U32 = 4, I32 = 5, F32 = 6,
  Bool = 7, String = 8, Array = 9, U64 = 10, I64 = 11, F64 = 12,
};

// A metadata value that was checked and not decoded: it lies in the file.
struct GgufValue {
  std::string_view key;
  ValueType type;
  ValueType entry;        // of an array: its entries' type; else the same as type
  uint64_t count;         // of an array: its entries; of a string: its bytes; else 1
  const std::byte* data;  // of the number, the text, or the first entry
  uint64_t position;      // of the key, in bytes from the file's start
};

struct TensorInfo {
  std::string name;
  Type type;
  int n_dims;             // 1 to 4
  uint64_t ne[4];         // elements along each dimension, 1 beyond n_dims; ne[0] is the length of a row
  const std::byte* data;  // aligned to 8 bytes at least
  uint64_t nbytes;

  uint64_t n_rows() const { return ne[1] * ne[2] * ne[3]; }
  uint64_t n_elements() const { return ne[0] * n_rows(); }
};

class Gguf {
 public:
  // Opens the file at `path` and, where it is a part of a split model, all the other parts beside it; any
  // part will do. Fails with kIo (cannot be read, a part is missing), kInvalidModel (damaged) or kUnsupported
  // (version 1, big-endian, a tensor type from the future).
  static Gguf open(const std::string& path, bool use_mmap = true);
  // The same for bytes that already lie in memory, and stay there longer than the Gguf. `name` is for
  // messages.
  static Gguf view(std::span<const std::byte> bytes, const std::string& name);

  Gguf(Gguf&&) = default;
  Gguf& operator=(Gguf&&) = default;

  const std::string& path() const { return path_; }
  uint32_t version() const { return version_; }
  size_t n_parts() const { return n_parts_; }
  uint64_t total_bytes() const { return total_bytes_; }    // of all files
  uint64_t tensor_bytes() const { return tensor_bytes_; }  // of all tensors

  // ---- metadata. std::nullopt: no such key. A value of another type or out of range fails with kInvalidModel and the
  // key's name, what was expected and what is there. Views last until release().
  const std::vector<GgufValue>& values() const { return values_; }  // in file order
  const GgufValue* value(std::string_view key) const;               // nullptr: no such key
  bool has(std::string_view key) const { return value(key) != nullptr; }
  bool is_array(std::string_view key) const;
  std::optional<uint64_t> length(std::string_view key) const;  // entries of the array at `key`

  std::optional<uint64_t> u64(std::string_view key) const;  // from any integer type
  std::optional<int64_t> i64(std::string_view key) const;   // from any integer type
  std::optional<int32_t> i32(std::string_view key) const;   // from any integer type
  std::optional<double> f64(std::string_view key) const;    // F32 or F64
  std::optional<float> f32(std::string_view key) const;     // F32 or F64
  std::optional<bool> boolean(std::string_view key) const;
  std::optional<std::string_view> str(std::string_view key) const;

  std::optional<std::vector<std::string_view>> strings(std::string_view key) const;
  std::optional<std::vector<uint64_t>> u64s(std::string_view key) const;  // from any integer type
  std::optional<std::vector<int32_t>> i32s(std::string_view key) const;   // from any integer type
  std::optional<std::vector<float>> f32s(std::string_view key) const;     // F32 or F64
  std::optional<std::vector<uint8_t>> bools(std::string_view key) const;  // 0, 1: from Bool or any integer
  std::optional<std::vector<uint8_t>> u8s(std::string_view key) const;    // bytes, from U8 or I8

  // ---- the same, where the key must be there.
  uint64_t require_u64(std::string_view key, uint64_t least = 0, uint64_t most = UINT64_MAX) const;
  float require_f32(std::string_view key) const;
  bool require_bool(std::string_view key) const;
  std::string_view require_str(std::string_view key) const;
  std::vector<std::string_view> require_strings(std::string_view key) const;
  std::vector<int32_t> require_i32s(std::string_view key) const;
  std::vector<float> require_f32s(std::string_view key) const;

  // ---- tensors, of all parts, in file order.
  const std::vector<TensorInfo>& tensors() const { return tensors_; }
  const TensorInfo* tensor(std::string_view name) const;  // nullptr: no such tensor
  const TensorInfo& require_tensor(std::string_view name) const;

  // The tensor was copied elsewhere: its pages need not stay in memory. It can still be read.
  void discard(const TensorInfo& tensor) const;
  // Whether the tensor's bytes are those of a mapped file.
  bool mapped(const TensorInfo& tensor) const;
  // Lets go of the files. Names, shapes and types stay; metadata, views and tensors' data are gone.
  void release();

 private:
  Gguf() = default;
  void add_part(std::span<const std::byte> bytes, const std::string& path);
  void open_parts(const std::string& path, bool use_mmap);
  void finish();
  void align_tensors();
  [[noreturn]] void wrong_type(const GgufValue& value, const char* expected) const;
  template <class T>
  std::optional<T> integer(std::string_view key, const char* expected) const;
  template <class T>
  std::optional<std::vector<T>> integers(std::string_view key, const char* expected) const;
  const GgufValue& require(std::string_view key, const char* expected) const;

  std::string path_;
  uint32_t version_ = 0;
  size_t n_parts_ = 0;
  uint64_t total_bytes_ = 0, tensor_bytes_ = 0;
  std::vector<MappedFile> files_;
  std::vector<AlignedBytes> copies_;  // of tensors that lie at odd addresses; see align_tensors
  std::vector<GgufValue> values_;     // of the first part
  std::vector<TensorInfo> tensors_;
  std::vector<uint32_t> values_by_key_;  // indices, sorted: a file cannot choose keys that make look-ups slow
  std::vector<uint32_t> tensors_by_name_;
};

}  // namespace pl

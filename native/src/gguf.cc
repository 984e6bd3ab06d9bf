#include "gguf.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "error.h"
#include "gguf_parse.h"

namespace pl {
namespace {

bool is_integer(ValueType type) {
  return value_size(type) != 0 && type != ValueType::F32 && type != ValueType::F64 && type != ValueType::Bool;
}

// An integer of the file: its bits, and whether they are to be read as signed.
struct Integer {
  uint64_t bits;
  bool negative;
};

Integer integer_at(ValueType type, const std::byte* p) {
  const auto of = [](auto n) { return Integer{static_cast<uint64_t>(static_cast<int64_t>(n)), n < 0}; };
  switch (type) {
    case ValueType::U8: return {load<uint8_t>(p), false};
    case ValueType::U16: return {load<uint16_t>(p), false};
    case ValueType::U32: return {load<uint32_t>(p), false};
    case ValueType::U64: return {load<uint64_t>(p), false};
    case ValueType::I8: return of(load<int8_t>(p));
    case ValueType::I16: return of(load<int16_t>(p));
    case ValueType::I32: return of(load<int32_t>(p));
    default: return of(load<int64_t>(p));
  }
}

template <class T>
bool fits(Integer n) {
  if constexpr (std::is_unsigned_v<T>) {
    return !n.negative && n.bits <= std::numeric_limits<T>::max();
  } else {
    const auto value = static_cast<int64_t>(n.bits);
    if (!n.negative && value < 0) return false;  // beyond INT64_MAX
    return value >= std::numeric_limits<T>::min() && value <= std::numeric_limits<T>::max();
  }
}

std::string decimal(Integer n) {
  return n.negative ? text("%lld", static_cast<long long>(n.bits))
                    : text("%llu", static_cast<unsigned long long>(n.bits));
}

double float_at(ValueType type, const std::byte* p) {
  return type == ValueType::F32 ? static_cast<double>(load<float>(p)) : load<double>(p);
}

bool is_float(ValueType type) { return type == ValueType::F32 || type == ValueType::F64; }

std::string type_words(const GgufValue& v) {
  return v.type == ValueType::Array ? text("an array of %s", value_type_name(v.entry))
                                    : value_type_name(v.type);
}

}  // namespace

// ---- opening; split files are in gguf_split.cc

Gguf Gguf::open(const std::string& path, bool use_mmap) {
  Gguf out;
  out.path_ = path;
  out.open_parts(path, use_mmap);
  return out;
}

Gguf Gguf::view(std::span<const std::byte> bytes, const std::string& name) {
  Gguf out;
  out.path_ = name;
  out.add_part(bytes, name);
  out.n_parts_ = 1;
  out.finish();
  return out;
}

// The first part's metadata are the model's; the others' say only which part each is.
void Gguf::add_part(std::span<const std::byte> bytes, const std::string& path) {
  GgufPart part = parse_gguf(bytes, path);
  if (n_parts_ == 0) {
    version_ = part.version;
    values_ = std::move(part.values);
  }
  total_bytes_ += bytes.size();
  for (TensorInfo& t : part.tensors) tensor_bytes_ += t.nbytes;
  if (tensors_.empty()) {
    tensors_ = std::move(part.tensors);
  } else {
    tensors_.insert(tensors_.end(), std::make_move_iterator(part.tensors.begin()),
                    std::make_move_iterator(part.tensors.end()));
  }
  ++n_parts_;
}

// Sorted look-up tables, and names that are new across parts too.
void Gguf::finish() {
  values_by_key_.resize(values_.size());
  for (uint32_t i = 0; i < values_by_key_.size(); ++i) values_by_key_[i] = i;
  std::sort(values_by_key_.begin(), values_by_key_.end(),
            [this](uint32_t a, uint32_t b) { return values_[a].key < values_[b].key; });
  tensors_by_name_.resize(tensors_.size());
  for (uint32_t i = 0; i < tensors_by_name_.size(); ++i) tensors_by_name_[i] = i;
  std::sort(tensors_by_name_.begin(), tensors_by_name_.end(),
            [this](uint32_t a, uint32_t b) { return tensors_[a].name < tensors_[b].name; });
  for (size_t i = 1; i < tensors_by_name_.size(); ++i) {
    const std::string& name = tensors_[tensors_by_name_[i]].name;
    if (name == tensors_[tensors_by_name_[i - 1]].name) {
      fail(ErrorKind::kInvalidModel, "%s: the tensor %s is in two of its %zu parts.", path_.c_str(),
           shown(name).c_str(), n_parts_);
    }
  }
  align_tensors();
}

// general.alignment may be as low as 1, and kernels read whole numbers: a tensor at an odd address is copied.
void Gguf::align_tensors() {
  for (TensorInfo& t : tensors_) {
    if (reinterpret_cast<uintptr_t>(t.data) % 8 == 0) continue;
    copies_.push_back(allocate_aligned(t.nbytes));
    std::memcpy(copies_.back().get(), t.data, t.nbytes);
    t.data = copies_.back().get();
  }
}

void Gguf::discard(const TensorInfo& tensor) const {
  for (const MappedFile& file : files_) file.discard({tensor.data, tensor.nbytes});
}

bool Gguf::mapped(const TensorInfo& tensor) const {
  return std::any_of(files_.begin(), files_.end(), [&](const MappedFile& file) {
    const std::span<const std::byte> bytes = file.bytes();
    return file.mapped() && tensor.data >= bytes.data() && tensor.data < bytes.data() + bytes.size();
  });
}

void Gguf::release() {
  for (TensorInfo& t : tensors_) t.data = nullptr;
  values_.clear();
  values_by_key_.clear();
  copies_.clear();
  files_.clear();
}

// ---- metadata

const GgufValue* Gguf::value(std::string_view key) const {
  const auto at = std::lower_bound(values_by_key_.begin(), values_by_key_.end(), key,
                                   [this](uint32_t i, std::string_view k) { return values_[i].key < k; });
  return at != values_by_key_.end() && values_[*at].key == key ? &values_[*at] : nullptr;
}

void Gguf::wrong_type(const GgufValue& v, const char* expected) const {
  fail(ErrorKind::kInvalidModel, "%s: the key %s: expected %s, found %s.", path_.c_str(),
       shown(v.key).c_str(), expected, type_words(v).c_str());
}

const GgufValue& Gguf::require(std::string_view key, const char* expected) const {
  const GgufValue* const v = value(key);
  if (v == nullptr) {
    fail(ErrorKind::kInvalidModel, "%s: the key %s is missing: expected %s.", path_.c_str(),
         shown(key).c_str(), expected);
  }
  return *v;
}

bool Gguf::is_array(std::string_view key) const {
  const GgufValue* const v = value(key);
  return v != nullptr && v->type == ValueType::Array;
}

std::optional<uint64_t> Gguf::length(std::string_view key) const {
  const GgufValue* const v = value(key);
  if (v == nullptr) return std::nullopt;
  if (v->type != ValueType::Array) wrong_type(*v, "an array");
  return v->count;
}

template <class T>
std::optional<T> Gguf::integer(std::string_view key, const char* expected) const {
  const GgufValue* const v = value(key);
  if (v == nullptr) return std::nullopt;
  if (!is_integer(v->type)) wrong_type(*v, expected);
  const Integer n = integer_at(v->type, v->data);
  if (!fits<T>(n)) {
    fail(ErrorKind::kInvalidModel, "%s: the key %s: expected %s, found %s.", path_.c_str(),
         shown(key).c_str(), expected, decimal(n).c_str());
  }
  return static_cast<T>(n.bits);
}

std::optional<uint64_t> Gguf::u64(std::string_view key) const {
  return integer<uint64_t>(key, "an integer, 0 or more");
}
std::optional<int64_t> Gguf::i64(std::string_view key) const {
  return integer<int64_t>(key, "an integer of 64 bits");
}
std::optional<int32_t> Gguf::i32(std::string_view key) const {
  return integer<int32_t>(key, "an integer of 32 bits");
}

std::optional<double> Gguf::f64(std::string_view key) const {
  const GgufValue* const v = value(key);
  if (v == nullptr) return std::nullopt;
  if (!is_float(v->type)) wrong_type(*v, "FLOAT32 or FLOAT64");
  return float_at(v->type, v->data);
}

std::optional<float> Gguf::f32(std::string_view key) const {
  const std::optional<double> x = f64(key);
  if (!x) return std::nullopt;
  return static_cast<float>(*x);
}

std::optional<bool> Gguf::boolean(std::string_view key) const {
  const GgufValue* const v = value(key);
  if (v == nullptr) return std::nullopt;
  if (v->type != ValueType::Bool) wrong_type(*v, "BOOL");
  return load<uint8_t>(v->data) != 0;
}

std::optional<std::string_view> Gguf::str(std::string_view key) const {
  const GgufValue* const v = value(key);
  if (v == nullptr) return std::nullopt;
  if (v->type != ValueType::String) wrong_type(*v, "STRING");
  return std::string_view(reinterpret_cast<const char*>(v->data), v->count);
}

std::optional<std::vector<std::string_view>> Gguf::strings(std::string_view key) const {
  const GgufValue* const v = value(key);
  if (v == nullptr) return std::nullopt;
  if (v->type != ValueType::Array || v->entry != ValueType::String) wrong_type(*v, "an array of STRING");
  std::vector<std::string_view> out;
  out.reserve(v->count);
  const std::byte* p = v->data;
  for (uint64_t i = 0; i < v->count; ++i) {
    const uint64_t size = load<uint64_t>(p);
    out.emplace_back(reinterpret_cast<const char*>(p + 8), size);
    p += 8 + size;
  }
  return out;
}

template <class T>
std::optional<std::vector<T>> Gguf::integers(std::string_view key, const char* expected) const {
  const GgufValue* const v = value(key);
  if (v == nullptr) return std::nullopt;
  if (v->type != ValueType::Array || !is_integer(v->entry)) wrong_type(*v, expected);
  std::vector<T> out(v->count);
  for (uint64_t i = 0; i < v->count; ++i) {
    const Integer n = integer_at(v->entry, v->data + i * value_size(v->entry));
    if (!fits<T>(n)) {
      fail(ErrorKind::kInvalidModel, "%s: the key %s: expected %s, found %s as entry %llu.", path_.c_str(),
           shown(key).c_str(), expected, decimal(n).c_str(), static_cast<unsigned long long>(i));
    }
    out[i] = static_cast<T>(n.bits);
  }
  return out;
}

std::optional<std::vector<uint64_t>> Gguf::u64s(std::string_view key) const {
  return integers<uint64_t>(key, "an array of integers, 0 or more");
}
std::optional<std::vector<int32_t>> Gguf::i32s(std::string_view key) const {
  return integers<int32_t>(key, "an array of integers of 32 bits");
}

std::optional<std::vector<float>> Gguf::f32s(std::string_view key) const {
  const GgufValue* const v = value(key);
  if (v == nullptr) return std::nullopt;
  if (v->type != ValueType::Array || !is_float(v->entry)) wrong_type(*v, "an array of FLOAT32 or FLOAT64");
  std::vector<float> out(v->count);
  for (uint64_t i = 0; i < v->count; ++i) {
    out[i] = static_cast<float>(float_at(v->entry, v->data + i * value_size(v->entry)));
  }
  return out;
}

std::optional<std::vector<uint8_t>> Gguf::bools(std::string_view key) const {
  const GgufValue* const v = value(key);
  if (v == nullptr) return std::nullopt;
  const char* const expected = "an array of BOOL, or of integers 0 and 1";
  if (v->type != ValueType::Array || (v->entry != ValueType::Bool && !is_integer(v->entry)))
    wrong_type(*v, expected);
  std::vector<uint8_t> out(v->count);
  for (uint64_t i = 0; i < v->count; ++i) {
    const ValueType entry = v->entry == ValueType::Bool ? ValueType::U8 : v->entry;
    const Integer n = integer_at(entry, v->data + i * value_size(entry));
    if (n.bits > 1) {
      fail(ErrorKind::kInvalidModel, "%s: the key %s: expected %s, found %s as entry %llu.", path_.c_str(),
           shown(key).c_str(), expected, decimal(n).c_str(), static_cast<unsigned long long>(i));
    }
    out[i] = static_cast<uint8_t>(n.bits);
  }
  return out;
}

std::optional<std::vector<uint8_t>> Gguf::u8s(std::string_view key) const {
  const GgufValue* const v = value(key);
  if (v == nullptr) return std::nullopt;
  if (v->type != ValueType::Array || (v->entry != ValueType::U8 && v->entry != ValueType::I8)) {
    wrong_type(*v, "an array of UINT8 or INT8");
  }
  std::vector<uint8_t> out(v->count);
  if (v->count != 0) std::memcpy(out.data(), v->data, v->count);
  return out;
}

uint64_t Gguf::require_u64(std::string_view key, uint64_t least, uint64_t most) const {
  const std::string expected = most == UINT64_MAX
                                   ? text("an integer, %llu or more", static_cast<unsigned long long>(least))
                                   : text("an integer, %llu to %llu", static_cast<unsigned long long>(least),
                                          static_cast<unsigned long long>(most));
  (void)require(key, expected.c_str());
  const uint64_t n = *integer<uint64_t>(key, expected.c_str());
  if (n < least || n > most) {
    fail(ErrorKind::kInvalidModel, "%s: the key %s: expected %s, found %llu.", path_.c_str(),
         shown(key).c_str(), expected.c_str(), static_cast<unsigned long long>(n));
  }
  return n;
}

float Gguf::require_f32(std::string_view key) const {
  (void)require(key, "FLOAT32 or FLOAT64");
  return *f32(key);
}
bool Gguf::require_bool(std::string_view key) const {
  (void)require(key, "BOOL");
  return *boolean(key);
}
std::string_view Gguf::require_str(std::string_view key) const {
  (void)require(key, "STRING");
  return *str(key);
}
std::vector<std::string_view> Gguf::require_strings(std::string_view key) const {
  (void)require(key, "an array of STRING");
  return *strings(key);
}
std::vector<int32_t> Gguf::require_i32s(std::string_view key) const {
  (void)require(key, "an array of integers");
  return *i32s(key);
}
std::vector<float> Gguf::require_f32s(std::string_view key) const {
  (void)require(key, "an array of FLOAT32 or FLOAT64");
  return *f32s(key);
}

// ---- tensors

const TensorInfo* Gguf::tensor(std::string_view name) const {
  const auto at = std::lower_bound(tensors_by_name_.begin(), tensors_by_name_.end(), name,
                                   [this](uint32_t i, std::string_view k) { return tensors_[i].name < k; });
  return at != tensors_by_name_.end() && tensors_[*at].name == name ? &tensors_[*at] : nullptr;
}

const TensorInfo& Gguf::require_tensor(std::string_view name) const {
  const TensorInfo* const t = tensor(name);
  if (t == nullptr)
    fail(ErrorKind::kInvalidModel, "%s: the tensor %s is missing.", path_.c_str(), shown(name).c_str());
  return *t;
}

}  // namespace pl

#include "gguf_parse.h"

#include <algorithm>
#include <utility>

#include "error.h"
#include "utf8_check.h"

namespace pl {
namespace {

// The smallest that a key with its value, and a tensor's entry, can be, in bytes.
constexpr uint64_t kMinKeyValue = 8 + 1 + 4 + 1;
constexpr uint64_t kMinTensor = 8 + 1 + 4 + 8 + 4 + 8;

struct KnownStart {
  std::string_view start;
  const char* what;
};
// What other files begin with, so that the message can name what it was given.
constexpr KnownStart kOtherFiles[] = {
    {"lmgg", " (a GGML file of 2023)"},
    {"fmgg", " (a GGML file of 2023)"},
    {"tjgg", " (a GGML file of 2023)"},
    {"algg", " (a GGML adapter of 2023)"},
    {"PK\x03\x04", " (a zip file, such as a PyTorch checkpoint)"},
    {"version https://git-lfs", " (a Git LFS pointer; the file itself was not downloaded)"},
    {"<", " (a page of HTML or XML, not what was to be downloaded)"},
};

struct RemovedType {
  uint32_t number;
  const char* name;
};
constexpr RemovedType kRemovedTypes[] = {
    {4, "Q4_2"},      {5, "Q4_3"},        {31, "Q4_0_4_4"},   {32, "Q4_0_4_8"},
    {33, "Q4_0_8_8"}, {36, "IQ4_NL_4_4"}, {37, "IQ4_NL_4_8"}, {38, "IQ4_NL_8_8"},
};

std::string number(uint64_t n) { return text("%llu", static_cast<unsigned long long>(n)); }

// What an error is about, put into words only when there is one: "the value of 'general.name'".
struct What {
  const char* words;  // may hold one %s
  std::string_view name = {};
  bool named = false;

  static What of(const char* words, std::string_view name) { return {words, name, true}; }
  std::string str() const { return named ? text(words, shown(name).c_str()) : std::string(words); }
};

class Parser {
 public:
  Parser(std::span<const std::byte> bytes, const std::string& name) : bytes_(bytes), name_(name) {
    end_ = std::min<uint64_t>(bytes.size(), kMaxHeader);
  }

  GgufPart parse();

 private:
  [[noreturn]] void wrong(ErrorKind kind, const std::string& what, uint64_t at, const std::string& expected,
                          const std::string& found) const {
    fail(kind, "%s is not a valid GGUF: %s at byte %llu: expected %s, found %s.", name_.c_str(), what.c_str(),
         static_cast<unsigned long long>(at), expected.c_str(), found.c_str());
  }
  [[noreturn]] void wrong(const What& what, uint64_t at, const std::string& expected,
                          const std::string& found) const {
    wrong(ErrorKind::kInvalidModel, what.str(), at, expected, found);
  }

  uint64_t left() const { return end_ - pos_; }
  void need(const What& what, uint64_t n) const;
  template <class T>
  T take(const What& what);
  uint64_t count(const What& what, uint64_t each, uint64_t most);
  std::string_view string(const What& what, uint64_t most);
  ValueType value_type(const What& what);
  void bools(const What& what, uint64_t n) const;

  void start();
  void metadata();
  void value(GgufValue& out);
  void array_start(std::string_view key, ValueType* entry, uint64_t* n);
  void skip(std::string_view key, ValueType entry, uint64_t n, int depth);
  void check_unique_keys() const;
  uint64_t alignment() const;
  void tensors();
  TensorInfo tensor(uint64_t i, uint64_t alignment, uint64_t* offset);
  void place_tensors(const std::vector<uint64_t>& offsets, const std::vector<uint64_t>& positions,
                     uint64_t alignment);
  void check_overlaps() const;

  std::span<const std::byte> bytes_;
  const std::string& name_;
  uint64_t pos_ = 0;
  uint64_t end_;  // of what may be header
  uint64_t entries_left_ = kMaxEntries;
  uint64_t n_tensors_ = 0, n_keys_ = 0;
  GgufPart part_;
};

// ---- primitive values

void Parser::need(const What& what, uint64_t n) const {
  if (n <= left()) return;
  const char* limit = end_ == bytes_.size() ? "" : " (a header may be no longer)";
  wrong(what, pos_, number(n) + " bytes", number(left()) + " until byte " + number(end_) + limit);
}

template <class T>
T Parser::take(const What& what) {
  need(what, sizeof(T));
  const T value = load<T>(bytes_.data() + pos_);
  pos_ += sizeof(T);
  return value;
}

// A number of things that take at least `each` bytes apiece, at most `most`.
uint64_t Parser::count(const What& what, uint64_t each, uint64_t most) {
  const uint64_t at = pos_;
  const uint64_t n = take<uint64_t>(what);
  if (n > most) wrong(what, at, "at most " + number(most), number(n));
  if (n > left() / each) {
    wrong(what, at, "at most " + number(left() / each) + " in the bytes that remain", number(n));
  }
  return n;
}

std::string_view Parser::string(const What& what, uint64_t most) {
  const uint64_t at = pos_;
  const uint64_t n = take<uint64_t>(what);
  const uint64_t limit = std::min(most, left());
  if (n > limit) wrong(what, at, "a string of at most " + number(limit) + " bytes", number(n) + " bytes");
  const std::string_view out(reinterpret_cast<const char*>(bytes_.data() + pos_), n);
  if (const size_t bad = first_invalid_utf8(out); bad != std::string_view::npos) {
    wrong(what, pos_ + bad, "UTF-8", text("byte 0x%02x", static_cast<unsigned char>(out[bad])));
  }
  pos_ += n;
  return out;
}

ValueType Parser::value_type(const What& what) {
  const uint64_t at = pos_;
  const uint32_t n = take<uint32_t>(what);
  if (n > static_cast<uint32_t>(ValueType::F64)) wrong(what, at, "a value type, 0 to 12", number(n));
  return static_cast<ValueType>(n);
}

// That the next n bytes, which are there, are each 0 or 1.
void Parser::bools(const What& what, uint64_t n) const {
  for (uint64_t i = 0; i < n; ++i) {
    const auto byte = static_cast<unsigned>(bytes_[pos_ + i]);
    if (byte > 1) wrong(what, pos_ + i, "a bool, 0 or 1", number(byte));
  }
}

// ---- the header's parts

GgufPart Parser::parse() {
  start();
  metadata();
  tensors();
  return std::move(part_);
}

void Parser::start() {
  const std::string_view all(reinterpret_cast<const char*>(bytes_.data()), bytes_.size());
  if (all.empty()) fail(ErrorKind::kInvalidModel, "%s is not a GGUF file: it is empty.", name_.c_str());
  if (all.substr(0, 4) != "GGUF") {
    const char* kind = "";
    for (const KnownStart& other : kOtherFiles) {
      if (all.substr(0, other.start.size()) == other.start) kind = other.what;
    }
    fail(ErrorKind::kInvalidModel, "%s is not a GGUF file: expected 'GGUF' at byte 0, found %s%s.",
         name_.c_str(), shown(all.substr(0, 4)).c_str(), kind);
  }
  pos_ = 4;
  part_.version = take<uint32_t>({"the version"});
  const uint32_t v = part_.version;
  if (v != 2 && v != 3) {
    const bool swapped = v != 0 && (v & 0xFFFF) == 0;
    wrong(ErrorKind::kUnsupported, "the version", 4, swapped ? "little-endian numbers" : "2 or 3",
          swapped  ? "big-endian ones"
          : v == 1 ? "1, of August 2023, whose counts are narrower"
                   : number(v));
  }
  n_tensors_ = count({"the number of tensors"}, kMinTensor, kMaxTensors);
  n_keys_ = count({"the number of metadata keys"}, kMinKeyValue, kMaxKeys);
}

void Parser::metadata() {
  part_.values.reserve(n_keys_);
  for (uint64_t i = 0; i < n_keys_; ++i) {
    GgufValue entry{};
    entry.position = pos_;
    const std::string what = "the name of key " + number(i);
    entry.key = string({what.c_str()}, kMaxKeyName);
    if (entry.key.empty()) wrong({what.c_str()}, entry.position, "a new name", "''");
    entry.type = value_type(What::of("the type of %s", entry.key));
    value(entry);
    part_.values.push_back(entry);
  }
  check_unique_keys();
}

void Parser::value(GgufValue& out) {
  out.entry = out.type;
  out.count = 1;
  if (out.type == ValueType::String) {
    const std::string_view s = string(What::of("the value of %s", out.key), kMaxHeader);
    out.count = s.size();
    out.data = reinterpret_cast<const std::byte*>(s.data());
  } else if (out.type == ValueType::Array) {
    array_start(out.key, &out.entry, &out.count);
    out.data = bytes_.data() + pos_;
    skip(out.key, out.entry, out.count, 1);
  } else {
    out.data = bytes_.data() + pos_;
    skip(out.key, out.type, 1, 1);
  }
}

void Parser::array_start(std::string_view key, ValueType* entry, uint64_t* n) {
  *entry = value_type(What::of("the entry type in the value of %s", key));
  const uint32_t size = value_size(*entry);
  const uint64_t each = size != 0 ? size : *entry == ValueType::String ? 8 : 12;  // the least it can take
  *n = count(What::of("the length of the value of %s", key), each, entries_left_);
  entries_left_ -= *n;
}

// Steps over n entries and checks all that decoding them will believe.
void Parser::skip(std::string_view key, ValueType entry, uint64_t n, int depth) {
  const What what = What::of("the value of %s", key);
  if (entry == ValueType::String) {
    for (uint64_t i = 0; i < n; ++i) {
      // The common entry, short and whole, needs no words for an error; everything else goes the long way.
      if (left() >= 8) {
        const uint64_t size = load<uint64_t>(bytes_.data() + pos_);
        const char* const at = reinterpret_cast<const char*>(bytes_.data() + pos_ + 8);
        if (size <= left() - 8 && first_invalid_utf8({at, size}) == std::string_view::npos) {
          pos_ += 8 + size;
          continue;
        }
      }
      string({("entry " + number(i) + " of " + what.str()).c_str()}, kMaxHeader);
    }
  } else if (entry == ValueType::Array) {
    if (depth >= kMaxArrayDepth)
      wrong(what, pos_, text("arrays at most %d deep", kMaxArrayDepth), "a deeper one");
    for (uint64_t i = 0; i < n; ++i) {
      ValueType inner{};
      uint64_t m = 0;
      array_start(key, &inner, &m);
      skip(key, inner, m, depth + 1);
    }
  } else {
    const uint64_t size = n * value_size(entry);  // no overflow: n was held against the bytes that remain
    need(what, size);
    if (entry == ValueType::Bool) bools(what, n);
    pos_ += size;
  }
}

// By sorting, which takes n log n steps whatever names a file chooses.
void Parser::check_unique_keys() const {
  std::vector<const GgufValue*> sorted;
  sorted.reserve(part_.values.size());
  for (const GgufValue& v : part_.values) sorted.push_back(&v);
  std::sort(sorted.begin(), sorted.end(), [](const GgufValue* a, const GgufValue* b) {
    return a->key != b->key ? a->key < b->key : a->position < b->position;
  });
  for (size_t i = 1; i < sorted.size(); ++i) {
    if (sorted[i]->key == sorted[i - 1]->key) {
      wrong({"the name of a key"}, sorted[i]->position, "a new name", shown(sorted[i]->key));
    }
  }
}

uint64_t Parser::alignment() const {
  for (const GgufValue& v : part_.values) {
    if (v.key != "general.alignment") continue;
    const What what{"general.alignment"};
    const std::string expected = "a power of two of type UINT32, at most " + number(kMaxAlignment);
    if (v.type != ValueType::U32)
      wrong(what, v.position, expected, text("a value of type %s", value_type_name(v.type)));
    const uint32_t n = load<uint32_t>(v.data);
    if (n == 0 || (n & (n - 1)) != 0 || n > kMaxAlignment) wrong(what, v.position, expected, number(n));
    return n;
  }
  return 32;
}

void Parser::tensors() {
  const uint64_t align = alignment();
  std::vector<uint64_t> offsets, positions;
  part_.tensors.reserve(n_tensors_);
  offsets.reserve(n_tensors_);
  positions.reserve(n_tensors_);
  for (uint64_t i = 0; i < n_tensors_; ++i) {
    uint64_t offset = 0;
    positions.push_back(pos_);
    part_.tensors.push_back(tensor(i, align, &offset));
    offsets.push_back(offset);
  }
  place_tensors(offsets, positions, align);
  check_overlaps();
}

// One tensor's entry; its data's place is filled in when the end of the header is known.
TensorInfo Parser::tensor(uint64_t i, uint64_t alignment, uint64_t* offset) {
  TensorInfo out{};
  uint64_t at = pos_;
  const std::string name_words = "the name of tensor " + number(i);
  out.name = string({name_words.c_str()}, kMaxTensorName);
  if (out.name.empty() || out.name.find('\0') != std::string::npos) {
    wrong({name_words.c_str()}, at, "a name", shown(out.name));
  }
  at = pos_;
  const What dims = What::of("the number of dimensions of tensor %s", out.name);
  const uint32_t n_dims = take<uint32_t>(dims);
  if (n_dims < 1 || n_dims > 4) wrong(dims, at, "1 to 4", number(n_dims));
  out.n_dims = static_cast<int>(n_dims);

  at = pos_;
  const What shape = What::of("the shape of tensor %s", out.name);
  // An element takes more than a bit in every type, so that no product beyond this can be right.
  const uint64_t most = uint64_t{8} * bytes_.size();
  uint64_t product = 1;
  bool fits = true;
  std::string found;
  for (uint32_t d = 0; d < 4; ++d) {
    out.ne[d] = d < n_dims ? take<uint64_t>(shape) : 1;
    if (d < n_dims) found += (d == 0 ? "[" : ", ") + number(out.ne[d]);
    fits = fits && out.ne[d] != 0 && out.ne[d] <= most / product;
    if (fits) product *= out.ne[d];
  }
  if (!fits) wrong(shape, at, "1 to " + number(most) + " elements", found + "]");

  at = pos_;
  const What type = What::of("the type of tensor %s", out.name);
  const uint32_t type_number = take<uint32_t>(type);
  const TypeInfo* const facts = type_info(type_number);
  if (facts == nullptr) {
    std::string gone;
    for (const RemovedType& removed : kRemovedTypes) {
      if (removed.number == type_number) gone = text(" (%s, removed from the format)", removed.name);
    }
    wrong(ErrorKind::kUnsupported, type.str(), at, "a known tensor type", number(type_number) + gone);
  }
  out.type = facts->type;
  if (out.ne[0] % facts->block_elements != 0) {
    wrong(shape, at, text("rows of a multiple of %u (%s)", facts->block_elements, facts->name), found + "]");
  }
  // Below 2^63, because product is at most eight times the file's size.
  out.nbytes = product / facts->block_elements * facts->block_bytes;

  at = pos_;
  const What place = What::of("the offset of tensor %s", out.name);
  *offset = take<uint64_t>(place);
  if (*offset % alignment != 0) wrong(place, at, "a multiple of " + number(alignment), number(*offset));
  return out;
}

void Parser::place_tensors(const std::vector<uint64_t>& offsets, const std::vector<uint64_t>& positions,
                           uint64_t alignment) {
  const uint64_t data = (pos_ + alignment - 1) / alignment * alignment;
  const uint64_t size = bytes_.size();
  for (size_t i = 0; i < offsets.size(); ++i) {
    TensorInfo& t = part_.tensors[i];
    if (data > size || offsets[i] > size - data || t.nbytes > size - data - offsets[i]) {
      wrong(What::of("the data of tensor %s", t.name), positions[i],
            number(t.nbytes) + " bytes from " + number(data) + " + " + number(offsets[i]) + " on",
            "a file that ends at " + number(size));
    }
    t.data = bytes_.data() + data + offsets[i];
  }
  std::vector<size_t> order(offsets.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return part_.tensors[a].name != part_.tensors[b].name ? part_.tensors[a].name < part_.tensors[b].name
                                                          : a < b;
  });
  for (size_t i = 1; i < order.size(); ++i) {
    const std::string& name = part_.tensors[order[i]].name;
    if (name == part_.tensors[order[i - 1]].name) {
      wrong({"a tensor's name"}, positions[order[i]], "a new name", shown(name));
    }
  }
}

void Parser::check_overlaps() const {
  std::vector<const TensorInfo*> sorted;
  sorted.reserve(part_.tensors.size());
  for (const TensorInfo& t : part_.tensors) sorted.push_back(&t);
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const TensorInfo* a, const TensorInfo* b) { return a->data < b->data; });
  for (size_t i = 1; i < sorted.size(); ++i) {
    const TensorInfo &left = *sorted[i - 1], &right = *sorted[i];
    const auto at = static_cast<uint64_t>(right.data - bytes_.data());
    const auto free = static_cast<uint64_t>(left.data - bytes_.data()) + left.nbytes;
    if (free > at) {
      wrong(What::of("the data of tensor %s", right.name), at,
            "an offset from " + number(free) + " on, after " + shown(left.name), number(at));
    }
  }
}

}  // namespace

GgufPart parse_gguf(std::span<const std::byte> bytes, const std::string& name) {
  const size_t slash = name.find_last_of("/\\");
  return Parser(bytes, slash == std::string::npos ? name : name.substr(slash + 1)).parse();
}

}  // namespace pl

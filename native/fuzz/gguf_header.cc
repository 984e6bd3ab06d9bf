#include "gguf_header.h"

#include <cstring>
#include <iterator>
#include <utility>

namespace fuzz {

size_t scalar_bytes(uint32_t type) {
  constexpr size_t kBytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return type < std::size(kBytes) ? kBytes[type] : 0;
}

namespace {

class Reader {
 public:
  explicit Reader(std::string_view bytes) : all_(bytes) {}
  bool failed() const { return failed_; }
  size_t at() const { return at_; }
  std::string_view since(size_t begin) const { return all_.substr(begin, at_ - begin); }

  std::string_view take(uint64_t n) {
    failed_ = failed_ || n > all_.size() - at_;
    if (failed_) return {};
    at_ += static_cast<size_t>(n);
    return all_.substr(at_ - static_cast<size_t>(n), static_cast<size_t>(n));
  }
  template <class T>
  T number() {
    T out{};
    if (const std::string_view s = take(sizeof out); !failed_) std::memcpy(&out, s.data(), sizeof out);
    return out;
  }
  std::string_view text() { return take(number<uint64_t>()); }
  void skip_value(uint32_t type, bool in_array = false) {
    if (type == kString) {
      text();
    } else if (type == kArray && !in_array) {
      const auto of = number<uint32_t>();
      for (auto n = number<uint64_t>(); n > 0 && !failed_; --n) skip_value(of, true);
    } else {
      const size_t n = scalar_bytes(type);
      failed_ = failed_ || n == 0;
      take(n);
    }
  }

 private:
  std::string_view all_;
  size_t at_ = 0;
  bool failed_ = false;
};

}  // namespace

bool Header::read(std::string_view bytes) {
  Reader in(bytes);
  in.take(8);
  const auto n_tensors = in.number<uint64_t>(), n_keys = in.number<uint64_t>();
  for (uint64_t i = 0; i < n_keys && !in.failed(); ++i) {
    Key key{std::string(in.text()), in.number<uint32_t>(), {}};
    const size_t begin = in.at();
    in.skip_value(key.type);
    key.value = in.since(begin);
    keys.push_back(std::move(key));
  }
  for (uint64_t i = 0; i < n_tensors && !in.failed(); ++i) {
    Tensor tensor{std::string(in.text()), {}, 0, 0};
    for (auto n = in.number<uint32_t>(); n > 0 && !in.failed(); --n) tensor.ne.push_back(in.number<uint64_t>());
    tensor.type = in.number<uint32_t>(), tensor.offset = in.number<uint64_t>();
    tensors.push_back(std::move(tensor));
  }
  return !in.failed();
}

std::string Header::write() const {
  std::string out = "GGUF" + raw<uint32_t>(3) + raw<uint64_t>(tensors.size()) + raw<uint64_t>(keys.size());
  for (const Key& k : keys) out += raw_text(k.name) + raw(k.type) + k.value;
  for (const Tensor& t : tensors) {
    out += raw_text(t.name) + raw(static_cast<uint32_t>(t.ne.size()));
    for (const uint64_t n : t.ne) out += raw(n);
    out += raw(t.type) + raw(t.offset);
  }
  out.resize((out.size() + 31) / 32 * 32, '\0');
  return out;
}

}  // namespace fuzz

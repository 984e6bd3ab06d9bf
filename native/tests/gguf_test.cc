#include "../src/gguf.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "../src/gguf_parse.h"
#include "../src/rng.h"
#include "check.h"

using pl::ErrorKind;
using pl::Gguf;

namespace {

// A file put together by hand, so that it can be wrong at will.
template <class T>
std::string raw(T n) {
  return std::string(reinterpret_cast<const char*>(&n), sizeof n);
}
std::string u32(uint32_t n) { return raw(n); }
std::string u64(uint64_t n) { return raw(n); }
std::string str(const std::string& s) { return u64(s.size()) + s; }
template <class T>
std::string scalar(const std::string& key, uint32_t type, T value) {
  return str(key) + u32(type) + raw(value);
}
std::string string_key(const std::string& key, const std::string& value) {
  return str(key) + u32(8) + str(value);
}
std::string array_key(const std::string& key, uint32_t type, uint64_t n, const std::string& entries) {
  return str(key) + u32(9) + u32(type) + u64(n) + entries;
}
std::string tensor(const std::string& name, const std::vector<uint64_t>& ne, uint32_t type, uint64_t offset) {
  std::string out = str(name) + u32(static_cast<uint32_t>(ne.size()));
  for (const uint64_t n : ne) out += u64(n);
  return out + u32(type) + u64(offset);
}
std::string whole(const std::vector<std::string>& keys, const std::vector<std::string>& tensors,
                  const std::string& data, size_t alignment = 32) {
  std::string out = "GGUF" + u32(3) + u64(tensors.size()) + u64(keys.size());
  for (const std::string& k : keys) out += k;
  for (const std::string& t : tensors) out += t;
  out.resize((out.size() + alignment - 1) / alignment * alignment, '\0');
  return out + data;
}

std::span<const std::byte> bytes(const std::string& s) {
  return {reinterpret_cast<const std::byte*>(s.data()), s.size()};
}
Gguf view(const std::string& s) { return Gguf::view(bytes(s), "test.gguf"); }

const std::string kF32s = raw(1.5f) + raw(-2.0f) + raw(0.25f);

std::string good() {
  return whole(
      {
          string_key("general.architecture", "llama"),
          scalar<uint8_t>("u8", 0, 255),
          scalar<int8_t>("i8", 1, -128),
          scalar<uint16_t>("u16", 2, 65535),
          scalar<int16_t>("i16", 3, -32768),
          scalar<uint32_t>("u32", 4, 4294967295u),
          scalar<int32_t>("i32", 5, -2147483647),
          scalar<float>("f32", 6, 0.5f),
          scalar<uint8_t>("yes", 7, 1),
          scalar<uint64_t>("u64", 10, UINT64_MAX),
          scalar<int64_t>("i64", 11, INT64_MIN),
          scalar<double>("f64", 12, 0.1),
          array_key("strings", 8, 3, str("a") + str("") + str("\xE2\x96\x81the")),
          array_key("i32s", 5, 2, raw<int32_t>(-1) + raw<int32_t>(7)),
          array_key("u64s", 10, 2, raw<uint64_t>(1) + raw<uint64_t>(uint64_t{1} << 40)),
          array_key("f32s", 6, 3, kF32s),
          array_key("f64s", 12, 1, raw(0.5)),
          array_key("bools", 7, 3, std::string("\0\1\1", 3)),
          array_key("u8s", 0, 2, "\x01\xff"),
          array_key("nested", 9, 1, u32(0) + u64(2) + "ab"),
          array_key("empty", 8, 0, ""),
      },
      {tensor("a.weight", {4, 3}, 0, 0), tensor("b.weight", {64, 2}, 8, 64), tensor("c.bias", {5}, 1, 224)},
      std::string(234, 'd'));
}

void test_values() {
  const std::string file = good();
  const Gguf f = view(file);
  CHECK_EQ(f.version(), 3u);
  CHECK_EQ(f.total_bytes(), file.size());
  CHECK_EQ(f.values().size(), 21u);
  CHECK_EQ(*f.str("general.architecture"), "llama");
  CHECK_EQ(*f.u64("u8"), 255u);
  CHECK_EQ(*f.i64("i8"), -128);
  CHECK_EQ(*f.u64("u16"), 65535u);
  CHECK_EQ(*f.i32("i16"), -32768);
  CHECK_EQ(*f.u64("u32"), 4294967295u);
  CHECK_EQ(*f.i32("i32"), -2147483647);
  CHECK_EQ(*f.u64("u64"), UINT64_MAX);
  CHECK_EQ(*f.i64("i64"), INT64_MIN);
  CHECK_EQ(*f.f32("f32"), 0.5f);
  CHECK_EQ(*f.f64("f64"), 0.1);
  CHECK_EQ(*f.f32("f64"), 0.1f);
  CHECK(*f.boolean("yes"));
  CHECK_EQ(*f.length("strings"), 3u);
  CHECK_EQ(f.strings("strings")->at(2), "\xE2\x96\x81the");
  CHECK_EQ(f.i32s("i32s")->at(0), -1);
  CHECK_EQ(f.u64s("u64s")->at(1), uint64_t{1} << 40);
  CHECK_EQ(f.f32s("f32s")->at(1), -2.0f);
  CHECK_EQ(f.f32s("f64s")->at(0), 0.5f);
  CHECK_EQ(int{f.bools("bools")->at(2)}, 1);
  CHECK_EQ(int{f.u8s("u8s")->at(1)}, 255);
  CHECK_EQ(f.strings("empty")->size(), 0u);
  CHECK(f.is_array("nested") && !f.is_array("u8") && !f.is_array("nothing"));
  CHECK(!f.has("nothing") && !f.u64("nothing") && !f.strings("nothing") && !f.f32("nothing"));

  CHECK_THROWS(ErrorKind::kInvalidModel, f.u64("i8"));
  CHECK_THROWS(ErrorKind::kInvalidModel, f.i64("u64"));
  CHECK_THROWS(ErrorKind::kInvalidModel, f.i32("u32"));
  CHECK_THROWS(ErrorKind::kInvalidModel, f.u64("f32"));
  CHECK_THROWS(ErrorKind::kInvalidModel, f.u64("yes"));
  CHECK_THROWS(ErrorKind::kInvalidModel, f.u64("i32s"));
  CHECK_THROWS(ErrorKind::kInvalidModel, f.str("u8"));
  CHECK_THROWS(ErrorKind::kInvalidModel, f.strings("i32s"));
  CHECK_THROWS(ErrorKind::kInvalidModel, f.i32s("u64s"));
  CHECK_THROWS(ErrorKind::kInvalidModel, f.u64s("i32s"));
  CHECK_THROWS(ErrorKind::kInvalidModel, f.bools("i32s"));
  CHECK_THROWS(ErrorKind::kInvalidModel, f.i32s("nested"));
  CHECK_THROWS(ErrorKind::kInvalidModel, f.length("u8"));
  CHECK_THROWS(ErrorKind::kInvalidModel, f.require_u64("nothing"));
  CHECK_THROWS(ErrorKind::kInvalidModel, f.require_u64("u8", 1, 254));
  CHECK_EQ(f.require_u64("u8", 1, 255), 255u);
  CHECK_THROWS(ErrorKind::kInvalidModel, f.require_strings("nothing"));
  try {
    (void)f.require_u64("i8", 1, 8);
  } catch (const pl::Error& e) {
    CHECK_EQ(std::string(e.what()), "test.gguf: the key 'i8': expected an integer, 1 to 8, found -128.");
  }
}

void test_tensors() {
  const std::string file = good();
  Gguf f = view(file);
  CHECK_EQ(f.tensors().size(), 3u);
  CHECK_EQ(f.tensor_bytes(), 48u + 136 + 10);
  const pl::TensorInfo& b = f.require_tensor("b.weight");
  CHECK(b.type == pl::Type::Q8_0 && b.n_dims == 2 && b.ne[0] == 64 && b.ne[1] == 2 && b.ne[2] == 1 &&
        b.nbytes == 136);
  CHECK_EQ(b.n_rows(), 2u);
  CHECK(f.tensor("nothing") == nullptr);
  CHECK_THROWS(ErrorKind::kInvalidModel, f.require_tensor("nothing"));
  f.release();
  CHECK(f.tensor("a.weight") != nullptr && f.tensor("a.weight")->data == nullptr);
  CHECK(!f.has("u8"));

  // Alignment 1: what lies at odd addresses is copied to even ones.
  const std::string odd =
      whole({scalar<uint32_t>("general.alignment", 4, 1)}, {tensor("abc", {1}, 0, 1), tensor("d", {1}, 0, 5)},
            "x" + raw(2.5f) + raw(3.5f), 1);
  for (int shift = 0; shift < 8; ++shift) {
    const std::string moved = std::string(static_cast<size_t>(shift), 'x') + odd;
    const Gguf g = Gguf::view(bytes(moved).subspan(static_cast<size_t>(shift)), "odd");
    for (const pl::TensorInfo& t : g.tensors()) {
      CHECK_EQ(reinterpret_cast<uintptr_t>(t.data) % 8, 0u);
      CHECK_EQ(pl::load<float>(t.data), t.name == "abc" ? 2.5f : 3.5f);
    }
  }
}

void test_bad_files() {
  const std::string f = good();
  CHECK_THROWS(ErrorKind::kInvalidModel, view(""));
  CHECK_THROWS(ErrorKind::kInvalidModel, view("GGUF"));
  CHECK_THROWS(ErrorKind::kUnsupported, view("GGUF" + u32(1) + u32(0) + u32(0)));
  CHECK_THROWS(ErrorKind::kUnsupported, view("GGUF" + u32(4) + u64(0) + u64(0)));
  CHECK_THROWS(ErrorKind::kUnsupported, view(std::string("GGUF\0\0\0\3", 8) + u64(0) + u64(0)));
  CHECK_THROWS(ErrorKind::kInvalidModel, view("GGUF" + u32(3) + u64(UINT64_MAX) + u64(0)));
  CHECK_THROWS(ErrorKind::kUnsupported, view(whole({}, {tensor("w", {32}, 4, 0)}, std::string(64, 'd'))));
  CHECK_THROWS(ErrorKind::kUnsupported, view(whole({}, {tensor("w", {32}, 99, 0)}, std::string(64, 'd'))));
  // An alignment above the limit, at which the Python reader must refuse the file too.
  CHECK_THROWS(ErrorKind::kInvalidModel,
               view(whole({scalar<uint32_t>("general.alignment", 4, 1u << 21)}, {}, "")));
  (void)view(whole({scalar<uint32_t>("general.alignment", 4, 1u << 20)}, {}, ""));
  // Cut at every byte: R2.
  for (size_t n = 0; n < f.size(); ++n) {
    const std::string cut = f.substr(0, n);
    CHECK_THROWS(ErrorKind::kInvalidModel, view(cut));
  }
}

// R3: flips of one to four bytes of the header. Whatever is still accepted is read as a whole.
void test_flips() {
  const std::string file = good();
  const size_t header = file.size() - 234;
  pl::Rng rng(7);
  int accepted = 0;
  uint64_t sum = 0;
  for (int i = 0; i < 100000; ++i) {
    std::string f = file;
    for (uint64_t k = rng.next() % 4 + 1; k > 0; --k) f[rng.next() % header] = static_cast<char>(rng.next());
    try {
      const Gguf g = view(f);
      ++accepted;
      for (const pl::GgufValue& v : g.values()) {
        if (v.type == pl::ValueType::Array && v.entry == pl::ValueType::String) {
          const std::vector<std::string_view> strings = *g.strings(v.key);
          for (const std::string_view s : strings) {
            for (const char c : s) sum += static_cast<unsigned char>(c);
          }
        }
      }
      for (const pl::TensorInfo& t : g.tensors()) {
        for (uint64_t k = 0; k < t.nbytes; ++k) sum += static_cast<uint64_t>(t.data[k]);
      }
    } catch (const pl::Error&) {
    }
  }
  CHECK(accepted > 0 && sum > 0);
}

std::string folder() {
  const char* const tmp = std::getenv("TMPDIR");
  return tmp != nullptr ? tmp : "/tmp";
}

void write_file(const std::string& path, const std::string& data) {
  std::ofstream(path, std::ios::binary).write(data.data(), static_cast<std::streamsize>(data.size()));
}

std::string part(int number, int count, int n_tensors, const std::vector<std::string>& tensors) {
  return whole({string_key("general.name", "part " + std::to_string(number)),
                scalar<uint16_t>("split.no", 2, static_cast<uint16_t>(number)),
                scalar<uint16_t>("split.count", 2, static_cast<uint16_t>(count)),
                scalar<int32_t>("split.tensors.count", 5, n_tensors)},
               tensors, std::string(64, static_cast<char>('0' + number)));
}

void test_split() {
  const std::string stem = folder() + "/pocketllama-gguf-test";
  const std::string names[3] = {stem + "-00001-of-00003.gguf", stem + "-00002-of-00003.gguf",
                                stem + "-00003-of-00003.gguf"};
  const auto write_all = [&] {
    write_file(names[0], part(0, 3, 3, {}));
    write_file(names[1], part(1, 3, 3, {tensor("a", {4}, 0, 0), tensor("b", {4}, 0, 32)}));
    write_file(names[2], part(2, 3, 3, {tensor("c", {4}, 0, 0)}));
  };
  write_all();
  for (const std::string& name : names) {
    for (const bool use_mmap : {false, true}) {
      const Gguf f = Gguf::open(name, use_mmap);
      CHECK_EQ(f.n_parts(), 3u);
      CHECK_EQ(f.path(), names[0]);
      CHECK_EQ(*f.str("general.name"), "part 0");
      CHECK_EQ(f.tensors().size(), 3u);
      CHECK_EQ(static_cast<int>(f.require_tensor("b").data[0]), int{'1'});
      CHECK_EQ(static_cast<int>(f.require_tensor("c").data[15]), int{'2'});
      CHECK_EQ(f.mapped(f.require_tensor("c")), use_mmap);
      f.discard(f.require_tensor("c"));
      CHECK_EQ(static_cast<int>(f.require_tensor("c").data[15]), int{'2'});
    }
  }
  write_file(names[2], part(2, 3, 3, {tensor("b", {4}, 0, 0)}));
  CHECK_THROWS(ErrorKind::kInvalidModel, Gguf::open(names[0]));  // a name twice
  write_file(names[2], part(2, 3, 3, {}));
  CHECK_THROWS(ErrorKind::kInvalidModel, Gguf::open(names[0]));  // a tensor too few
  write_file(names[2], part(1, 3, 3, {tensor("c", {4}, 0, 0)}));
  CHECK_THROWS(ErrorKind::kInvalidModel, Gguf::open(names[0]));  // another's number
  write_file(names[2], part(2, 4, 3, {tensor("c", {4}, 0, 0)}));
  CHECK_THROWS(ErrorKind::kInvalidModel, Gguf::open(names[0]));  // another model's part
  write_file(names[2], good());
  CHECK_THROWS(ErrorKind::kInvalidModel, Gguf::open(names[0]));  // no part at all
  write_file(names[2], "");
  CHECK_THROWS(ErrorKind::kInvalidModel, Gguf::open(names[0]));
  std::remove(names[2].c_str());
  try {
    (void)Gguf::open(names[1]);
    CHECK(false);
  } catch (const pl::Error& e) {
    CHECK(e.kind == ErrorKind::kIo && std::strstr(e.what(), "-00003-of-00003.gguf") != nullptr);
  }
  const std::string renamed = stem + ".gguf";
  write_file(renamed, part(0, 3, 3, {}));
  CHECK_THROWS(ErrorKind::kInvalidModel, Gguf::open(renamed));
  write_file(renamed, part(0, 1, 0, {}));
  CHECK_EQ(Gguf::open(renamed).n_parts(), 1u);
  for (const std::string& name : {names[0], names[1], renamed}) std::remove(name.c_str());
}

void test_paths() {
  CHECK_THROWS(ErrorKind::kIo, Gguf::open(folder() + "/no such file.gguf"));
  CHECK_THROWS(ErrorKind::kIo, Gguf::open(folder()));
  CHECK_THROWS(ErrorKind::kIo, Gguf::open(folder(), false));
  CHECK_THROWS(ErrorKind::kIo, Gguf::open(""));
#if !defined(_WIN32)
  CHECK_THROWS(ErrorKind::kIo, Gguf::open("/dev/zero"));
#endif
}

// A vocabulary of 128k entries with scores, types and 280k merges.
void test_large_vocabulary() {
  std::string tokens, merges, scores, types;
  constexpr int kTokens = 131072, kMerges = 280000;
  for (int i = 0; i < kTokens; ++i) {
    tokens += str((i % 3 == 0 ? "\xC4\xA0" : "") + std::string("token") + std::to_string(i));
    scores += raw(static_cast<float>(-i));
    types += raw<int32_t>(1);
  }
  for (int i = 0; i < kMerges; ++i) merges += str("\xC4\xA0t " + std::to_string(i));
  const std::string file =
      whole({array_key("tokens", 8, kTokens, tokens), array_key("scores", 6, kTokens, scores),
             array_key("types", 5, kTokens, types), array_key("merges", 8, kMerges, merges)},
            {}, "");
  const auto start = std::chrono::steady_clock::now();
  const Gguf f = view(file);
  const auto parsed = std::chrono::steady_clock::now();
  CHECK_EQ(f.strings("tokens")->size(), size_t{kTokens});
  CHECK_EQ(f.strings("merges")->at(kMerges - 1), "\xC4\xA0t " + std::to_string(kMerges - 1));
  CHECK_EQ(f.f32s("scores")->at(5), -5.0f);
  const auto done = std::chrono::steady_clock::now();
  const auto ms = [](auto d) { return std::chrono::duration<double, std::milli>(d).count(); };
  std::printf("vocabulary of %d, %d merges: checked in %.1f ms, read in %.1f ms\n", kTokens, kMerges,
              ms(parsed - start), ms(done - parsed));
}

}  // namespace

int main() {
  test_values();
  test_tensors();
  test_bad_files();
  test_flips();
  test_split();
  test_paths();
  test_large_vocabulary();
  return check_failures();
}

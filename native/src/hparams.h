// A model's sizes and settings, from the metadata of its file: the keys that mean the same in every architecture.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "config.h"
#include "gguf.h"

namespace pl {

constexpr int64_t kMost = int64_t{1} << 24;  // no dimension of any model comes near this
constexpr float kAny = std::numeric_limits<float>::max();

// Reads keys under the architecture's name. Each function fails with kInvalidModel where a value is of another type, or
// beyond its bounds.
class Keys {
 public:
  Keys(const Gguf& file, const std::string& arch) : file_(file), arch_(arch) {}

  std::string full(const char* key) const { return arch_ + "." + key; }
  bool has(const char* key) const { return file_.has(full(key)); }
  bool is_array(const char* key) const { return file_.is_array(full(key)); }

  int64_t count(const char* key, int64_t least, int64_t most) const;
  int64_t count_or(const char* key, int64_t fallback, int64_t least, int64_t most) const;
  // One number for all layers; some files give it for each, and only uniform ones are known here.
  int64_t uniform(const char* key, int64_t fallback, int64_t least, int64_t most) const;
  float number_or(const char* key, float fallback, float least, float most) const;
  // The same for a factor, where 0 is how some writers say that there is none.
  float factor_or(const char* key, float fallback) const;
  std::string text_or(const char* key, const char* fallback) const;
  bool flag_or(const char* key, bool fallback) const { return file_.boolean(full(key)).value_or(fallback); }
  std::vector<uint8_t> flags(const char* key) const { return *file_.bools(full(key)); }
  bool has_tensor(const char* name) const { return file_.tensor(name) != nullptr; }

 private:
  const Gguf& file_;
  const std::string& arch_;
};

// Sizes, rope and experts.
void read_common(const Keys& keys, Config& c);

// The window of sliding layers (`fallback` where the file has none, 0: then none slides), and which ones slide: the
// file says, or else in each group of `every` all but the last (every of 0: all do).
void read_window(const Keys& keys, Config& c, int64_t fallback, int64_t every);

// ALiBi (Press et al. 2022): slopes from 2^(-most / n_heads) down to 2^-most, where n_heads is a power of two.
void read_alibi(const Keys& keys, Config& c);

}  // namespace pl

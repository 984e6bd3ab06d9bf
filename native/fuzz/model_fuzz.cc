// libFuzzer target from a file to a token: whatever loads must compute, and what does not must say why.
//
// An input is the header of a GGUF file; the tensors' data is made up, so that inputs stay small. The mutator takes the
// header apart and changes it where it matters: a number here and there at once, as a size stands in a key and in
// several tensors; types, names, layers that are missing. To begin with: python -m tests.native.write_headers FOLDER.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <utility>

#include "../src/architectures.h"
#include "../src/engine.h"
#include "../src/error.h"
#include "../src/rng.h"
#include "../src/sampler.h"
#include "gguf_header.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace {

using fuzz::Header;
using fuzz::Key;
using fuzz::Tensor;

// ---- the target

// With what a token takes for each of its elements, and with sanitizers, this stays below the 512 MB of a run.
constexpr uint64_t kMostData = uint64_t{8} << 20;

uint64_t hash(std::string_view bytes) {
  uint64_t h = 0;
  for (const char c : bytes) h = pl::Rng(h ^ static_cast<uint8_t>(c)).next();
  return h;
}

uint64_t bytes_of(const Tensor& t) {
  const pl::TypeInfo* const type = pl::type_info(t.type);
  uint64_t n = type ? 1 : 0;
  for (const uint64_t dim : t.ne) {
    if (dim > kMostData || (n *= dim) > kMostData * 8) return UINT32_MAX;
  }
  return type ? (n + type->block_elements - 1) / type->block_elements * type->block_bytes : 0;
}

// Where the data ends, counted from its beginning; 0 where that is too far away to be made up.
uint64_t data_bytes(const Header& header) {
  uint64_t end = 0;
  for (const Tensor& t : header.tensors) {
    const uint64_t n = bytes_of(t);
    if (n > kMostData || t.offset > kMostData - n) return 0;
    end = std::max(end, t.offset + n);
  }
  return end;
}

// Bytes for weights: numbers of common size as floats of 16 and 32 bits and in blocks, or anything at all.
std::string made_up(uint64_t seed) {
  std::string out(65536 - 64, '\0');  // no power of two, so that rows differ
  pl::Rng rng(seed);
  const bool anything = seed % 4 == 0;
  for (size_t i = 0; i < out.size(); ++i) {
    const auto byte = static_cast<uint8_t>(rng.next());
    out[i] = static_cast<char>(anything || i % 2 == 0 ? byte : (byte & 0x83) | 0x38);
  }
  return out;
}

// The file: one, written anew for each input. It has no name, but a path.
std::string write_file(std::string_view header, uint64_t n_data, uint64_t seed) {
  static std::FILE* const file = std::tmpfile();
  if (!file) std::abort();
  std::rewind(file);
  bool ok = ftruncate(fileno(file), 0) == 0 && std::fwrite(header.data(), 1, header.size(), file) == header.size();
  const std::string data = made_up(seed);
  for (uint64_t left = n_data; left > 0 && ok;) {
    const size_t n = std::min<size_t>(left, data.size());
    ok = std::fwrite(data.data(), 1, n, file) == n;
    left -= n;
  }
  if (!ok || std::fflush(file) != 0) std::abort();
  return pl::text("/dev/fd/%d", fileno(file));
}

// The inputs that came to their token. Where none do, nothing is tried: so they are counted, and the mutator begins
// with them more often than with those that libFuzzer keeps, most of which are refused in some new way.
struct Evaluated {
  ~Evaluated() { std::fprintf(stderr, "evaluated %lld of %lld files\n", evaluated, files); }
  void add(std::string_view input, uint64_t random) {
    ++evaluated;
    if (some.size() < 300) {
      some.emplace_back(input);
    } else {
      some[random % some.size()] = input;
    }
  }
  long long evaluated = 0, files = 0;
  std::vector<std::string> some;
} evaluated;

void evaluate(pl::Engine& engine, std::string_view input, uint64_t random) {
  const auto last = static_cast<int32_t>(engine.n_vocab() - 1);
  // Two texts in one batch, and one of them goes on.
  const pl::Item batch[] = {{0, 0, 0}, {last, 0, 1, pl::Wants::kLogits}, {last / 2, 1, 0, pl::Wants::kLogits}};
  engine.eval(batch, nullptr);
  if (engine.logits().size() != 2 * static_cast<size_t>(engine.n_vocab())) std::abort();
  const pl::Item next[] = {{last / 3, 0, 2, pl::Wants::kLogits}};
  engine.eval(next, nullptr);
  evaluated.add(input, random);
  const int32_t history[] = {0, last};
  const int32_t token = pl::Sampler({}).sample(engine.logits(), history);
  if (token < 0 || token > last) std::abort();
  (void)engine.tokenizer().piece(token, true);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const uint64_t seed = hash(bytes);
  evaluated.files += size > 0;
  Header header;
  const std::string path = write_file(bytes, header.read(bytes) ? data_bytes(header) : 0, seed);
  pl::EngineOptions options;
  options.context_length = seed & 8 ? 4 : 7, options.n_seqs = 2, options.threads = 1;
  options.kv_type = seed & 16 ? pl::Type::F16 : pl::Type::F32;
  options.use_mmap = (seed & 32) != 0;
  try {
    pl::Engine engine(path, options);
    (void)engine.tokenizer().encode("a b\n<s> \xE2\x96\x81", true, true);
    evaluate(engine, bytes, seed);
  } catch (const pl::Error&) {
  }
  return 0;
}

// ---- the mutator

namespace {

class Mutator {
 public:
  Mutator(Header& header, uint64_t seed) : h_(header), rng_(seed) {}

  void mutate() {
    do once();
    while (below(3) == 0);
    // Most files have their tensors one behind the other.
    uint64_t at = 0;
    for (Tensor& t : h_.tensors) {
      if (below(200) == 0) continue;
      t.offset = at;
      at += (std::min<uint64_t>(bytes_of(t), UINT32_MAX) + 31) / 32 * 32;
    }
  }

 private:
  uint64_t below(uint64_t n) { return rng_.next() % n; }
  template <class T>
  T& one_of(std::vector<T>& all) {
    return all[below(all.size())];
  }

  void once() {
    if (h_.keys.empty() || h_.tensors.empty()) return;
    switch (below(16)) {
      case 0:
      case 1: return set(one_of(h_.keys));
      case 2:
      case 3: return retype();
      case 11: return add_key();
      case 4: return rename_architecture();
      case 5: return erase(h_.keys);
      case 6: return erase(h_.tensors);
      case 7: return copy_tensor();
      case 8: return std::swap(one_of(h_.tensors).name, one_of(h_.tensors).name);
      case 9: return set_size(one_of(h_.tensors));
      case 10: return std::swap(one_of(h_.keys).value, one_of(h_.keys).value);
      default: return resize();
    }
  }

  uint64_t number() {
    constexpr uint64_t kNumbers[] = {
        0, 1, 2, 3, 4, 6, 8, 16, 31, 32, 33, 48, 64, 96, 128, 160, 255, 256, 257, 512, 1000, 4096, 65535, 65536,
        1 << 24, INT32_MAX, uint64_t{1} << 31, UINT32_MAX, INT64_MAX, UINT64_MAX};
    return kNumbers[below(std::size(kNumbers))];
  }
  float real() {
    const float kReals[] = {
        0.0f, -0.0f, 1.0f, -1.0f, 0.5f, 1e-45f, 1e-38f, 3e38f, 10000.0f, __builtin_inff(), __builtin_nanf("")};
    return kReals[below(std::size(kReals))];
  }

  // Another value of the same type, or now and then of another.
  void set(Key& key) {
    if (below(8) == 0) {
      constexpr uint32_t kTypes[] = {fuzz::kUint32, fuzz::kInt32, fuzz::kFloat32, fuzz::kBool, fuzz::kUint64};
      key.type = kTypes[below(std::size(kTypes))];
    }
    const size_t n = fuzz::scalar_bytes(key.type);
    if (key.type == fuzz::kFloat32) {
      key.value = fuzz::raw(real());
    } else if (key.type == fuzz::kBool) {
      key.value = std::string(1, static_cast<char>(below(2)));
    } else if (n > 0) {
      key.value = fuzz::raw(number()).substr(0, n);
    } else if (key.type == fuzz::kString) {
      constexpr const char* kTexts[] = {
          "none", "linear", "yarn", "longrope", "gpt2", "llama", "bert", "t5", "gemma4", ""};
      key.value = fuzz::raw_text(kTexts[below(std::size(kTexts))]);
    } else if (key.value.size() > 12) {  // an array: fewer entries than there were, or one changed
      key.value[4 + below(key.value.size() - 4)] ^= static_cast<char>(1 << below(8));
    }
  }

  void set_size(Tensor& t) {
    if (!t.ne.empty()) one_of(t.ne) = number();
  }

  // A size stands in keys and in tensors: both become another, so that they still agree.
  void resize() {
    const Tensor& t = one_of(h_.tensors);
    if (t.ne.empty()) return;
    const uint64_t from = t.ne[below(t.ne.size())], to = below(3) == 0 ? number() : from * (1 + below(4));
    const bool keys_only = below(8) == 0;
    for (Key& k : h_.keys) {
      const bool same = k.type == fuzz::kUint32 && k.value == fuzz::raw(static_cast<uint32_t>(from));
      if (same) k.value = fuzz::raw(static_cast<uint32_t>(to));
    }
    if (keys_only) return;
    for (Tensor& other : h_.tensors) std::replace(other.ne.begin(), other.ne.end(), from, to);
  }

  // One tensor, or all matrices, in another format.
  void retype() {
    const auto type = static_cast<uint32_t>(below(41));
    if (below(4) == 0) {
      one_of(h_.tensors).type = type;
      return;
    }
    const pl::TypeInfo* const info = pl::type_info(type);
    const auto fits = [&](const Tensor& t) { return t.ne.size() < 2 || t.ne[0] % info->block_elements == 0; };
    if (info && !std::all_of(h_.tensors.begin(), h_.tensors.end(), fits)) widen();
    for (Tensor& t : h_.tensors) {
      if (t.ne.size() > 1) t.type = type;
    }
  }

  // Every width eight times as large, so that the corpus' rows become whole blocks of 256. Counts stay: of heads,
  // experts, tokens, positions and rope's factors.
  void widen() {
    for (Key& k : h_.keys) {
      const bool width = k.name.find("_length") != std::string::npos && k.name.find("context") == std::string::npos;
      uint32_t n = 0;
      if (!width || k.type != fuzz::kUint32 || k.value.size() != sizeof n) continue;
      std::memcpy(&n, k.value.data(), sizeof n);
      k.value = fuzz::raw(n * 8);
    }
    for (Tensor& t : h_.tensors) {
      const bool rows_stay = t.name == "token_embd.weight" || t.name == "output.weight" || t.name == "output.bias" ||
                             t.name == "position_embd.weight";
      for (size_t d = 0; d < t.ne.size(); ++d) {
        const bool stays = t.ne[d] < 16 || t.name.rfind("rope", 0) == 0 || (rows_stay && d + 1 == t.ne.size());
        if (!stays) t.ne[d] *= 8;
      }
    }
  }

  std::string architecture() {
    for (const Key& k : h_.keys) {
      if (k.name == "general.architecture" && k.value.size() >= 8) return k.value.substr(8);
    }
    return {};
  }

  void add_key() {
    constexpr const char* kNames[] = {
        "attention.head_count_kv", "attention.key_length", "attention.value_length", "attention.scale",
        "attention.sliding_window", "attention.sliding_window_pattern", "attn_logit_softcapping",
        "final_logit_softcapping", "embedding_scale", "residual_scale", "logit_scale", "expert_count",
        "expert_used_count", "expert_feed_forward_length", "rope.dimension_count", "rope.freq_base",
        "rope.freq_base_swa", "rope.scaling.type", "rope.scaling.factor", "rope.scaling.original_context_length",
        "rope.scaling.attn_factor", "rope.scaling.yarn_beta_fast", "rope.scaling.yarn_beta_slow",
        "use_parallel_residual"};
    constexpr uint32_t kTypes[] = {fuzz::kUint32, fuzz::kFloat32, fuzz::kBool, fuzz::kString};
    Key key{architecture() + "." + kNames[below(std::size(kNames))], kTypes[below(std::size(kTypes))], {}};
    set(key);
    h_.keys.push_back(key);
  }

  void rename_architecture() {
    const std::string known = pl::known_architectures() + ", ", from = architecture();
    const size_t begin = known.rfind(", ", below(known.size() - 2));
    const size_t at = begin == std::string::npos ? 0 : begin + 2;
    const std::string to = known.substr(at, known.find(", ", at) - at);
    for (Key& k : h_.keys) {
      if (k.name == "general.architecture") k.value = fuzz::raw_text(to);
      if (k.name.rfind(from + ".", 0) == 0) k.name = to + k.name.substr(from.size());
    }
  }

  template <class T>
  void erase(std::vector<T>& all) {
    all.erase(all.begin() + static_cast<std::ptrdiff_t>(below(all.size())));
  }

  void copy_tensor() {
    constexpr const char* kNames[] = {
        "output.weight", "output.bias", "token_embd_norm.weight", "token_embd_norm.bias", "position_embd.weight",
        "rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight", "attn_norm_2.weight",
        "ffn_norm.weight", "attn_q_norm.weight", "attn_k_norm.weight", "attn_sinks.weight",
        "post_attention_norm.weight", "post_ffw_norm.weight", "ffn_gate.weight", "ffn_gate_inp.weight",
        "ffn_gate.0.weight", "attn_qkv.weight", "attn_q.bias", "attn_output.bias"};
    Tensor copy = one_of(h_.tensors);
    const size_t layer = copy.name.find('.', 4);
    const bool in_layer = copy.name.rfind("blk.", 0) == 0 && layer != std::string::npos;
    copy.name = (in_layer ? copy.name.substr(0, layer + 1) : "") + kNames[below(std::size(kNames))];
    h_.tensors.push_back(copy);
  }

  Header& h_;
  pl::Rng rng_;
};

}  // namespace

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned int seed) {
  std::string_view from(reinterpret_cast<const char*>(data), size);
  pl::Rng rng(seed);
  if (!evaluated.some.empty() && rng.next() % 4 != 0) from = evaluated.some[rng.next() % evaluated.some.size()];
  Header header;
  if (rng.next() % 8 == 0 || !header.read(from)) return LLVMFuzzerMutate(data, size, max_size);
  Mutator(header, rng.next()).mutate();
  const std::string out = header.write();
  if (out.size() > max_size) return LLVMFuzzerMutate(data, size, max_size);
  std::memcpy(data, out.data(), out.size());
  return out.size();
}

#include "architectures.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "error.h"

namespace pl {
namespace {

// Reads keys under the architecture's name.
class Keys {
 public:
  Keys(const Gguf& file, const std::string& arch) : file_(file), arch_(arch) {}

  std::string full(const char* key) const { return arch_ + "." + key; }
  bool has(const char* key) const { return file_.has(full(key)); }

  int64_t count(const char* key, int64_t least, int64_t most) const {
    return static_cast<int64_t>(
        file_.require_u64(full(key), static_cast<uint64_t>(least), static_cast<uint64_t>(most)));
  }
  int64_t count_or(const char* key, int64_t fallback, int64_t least, int64_t most) const {
    return has(key) ? count(key, least, most) : fallback;
  }
  // One number for all layers; some files give it for each, and only uniform ones are known here.
  int64_t uniform(const char* key, int64_t fallback, int64_t least, int64_t most) const {
    if (!has(key) || !file_.is_array(full(key))) return count_or(key, fallback, least, most);
    const std::vector<uint64_t> values = *file_.u64s(full(key));
    if (values.empty() || std::adjacent_find(values.begin(), values.end(), std::not_equal_to<>()) != values.end()) {
      fail(ErrorKind::kUnsupported, "%s differs from layer to layer, which the engine does not know", full(key).c_str());
    }
    if (values[0] < static_cast<uint64_t>(least) || values[0] > static_cast<uint64_t>(most)) {
      fail(ErrorKind::kInvalidModel, "%s is %llu, and must be from %lld to %lld", full(key).c_str(),
           static_cast<unsigned long long>(values[0]), static_cast<long long>(least), static_cast<long long>(most));
    }
    return static_cast<int64_t>(values[0]);
  }
  float number_or(const char* key, float fallback, float least, float most) const {
    const std::optional<float> value = file_.f32(full(key));
    if (!value) return fallback;
    if (!(*value >= least && *value <= most)) {
      fail(ErrorKind::kInvalidModel, "%s is %g, and must be from %g to %g", full(key).c_str(),
           static_cast<double>(*value), static_cast<double>(least), static_cast<double>(most));
    }
    return *value;
  }
  std::string text_or(const char* key, const char* fallback) const {
    const std::optional<std::string_view> value = file_.str(full(key));
    return value ? std::string(*value) : fallback;
  }
  bool flag_or(const char* key, bool fallback) const { return file_.boolean(full(key)).value_or(fallback); }

 private:
  const Gguf& file_;
  const std::string& arch_;
};

constexpr int64_t kMost = int64_t{1} << 24;  // no dimension of any model comes near this
constexpr float kAny = std::numeric_limits<float>::max();

void read_gemma2(const Keys& keys, Config& c) {
  c.embedding_scale = std::sqrt(static_cast<float>(c.dim));
  c.attn_soft_cap = keys.number_or("attn_logit_softcapping", 50.0f, 0.0f, kAny);
  c.final_soft_cap = keys.number_or("final_logit_softcapping", 30.0f, 0.0f, kAny);
  c.window = keys.count_or("attention.sliding_window", 4096, 1, kMost);
  c.global_every = 2, c.global_first = 1;
  // The 27 B model scales by its width, not by its heads' size; nothing in the file says so but its depth.
  if (c.n_layers == 46) c.attn_scale = 1.0f / std::sqrt(static_cast<float>(c.dim / c.n_heads));
}

void read_gemma3(const Keys& keys, Config& c) {
  c.embedding_scale = std::sqrt(static_cast<float>(c.dim));
  c.final_soft_cap = keys.number_or("final_logit_softcapping", 0.0f, 0.0f, kAny);
  c.window = keys.count_or("attention.sliding_window", 0, 0, kMost);
  c.global_every = keys.count_or("attention.sliding_window_pattern", 6, 1, kMost);
  c.global_first = c.global_every - 1;
  c.rope_base_local = keys.number_or("rope.freq_base_swa", 10000.0f, 1.0f, kAny);
  if (c.n_layers == 62) c.attn_scale = 1.0f / std::sqrt(static_cast<float>(c.dim / c.n_heads));  // 27 B again
}

void read_phi3(const Keys& keys, Config& c) {
  c.window = keys.count_or("attention.sliding_window", 0, 0, kMost);
}

void read_granite(const Keys& keys, Config& c) {
  c.embedding_scale = keys.number_or("embedding_scale", 1.0f, -kAny, kAny);
  c.residual_scale = keys.number_or("residual_scale", 1.0f, -kAny, kAny);
  const float divisor = keys.number_or("logit_scale", 1.0f, -kAny, kAny);
  if (divisor == 0) fail(ErrorKind::kInvalidModel, "granite.logit_scale is 0");
  c.logit_scale = 1.0f / divisor;
}

void read_smollm3(const Keys&, Config& c) { c.nope_every = 4; }

void read_starcoder2(const Keys& keys, Config& c) {
  c.window = keys.count_or("attention.sliding_window", 0, 0, kMost);
}

void read_gptneox(const Keys& keys, Config& c) {
  c.parallel_residual = keys.flag_or("use_parallel_residual", true);
}

void read_parallel(const Keys&, Config& c) { c.parallel_residual = true; }

void read_gptoss(const Keys& keys, Config& c) {
  c.window = keys.count_or("attention.sliding_window", 128, 1, kMost);
  c.global_every = 2, c.global_first = 1;
  c.yarn_truncate = false;
}

struct Row {
  const char* name;
  Norm norm;
  Rope rope;
  Activation activation;
  void (*read)(const Keys&, Config&);  // what is new in it; null: nothing
};

constexpr Row kRows[] = {
    {"llama", Norm::kRms, Rope::kInterleaved, Activation::kSilu, nullptr},
    {"qwen2", Norm::kRms, Rope::kHalves, Activation::kSilu, nullptr},
    {"qwen3", Norm::kRms, Rope::kHalves, Activation::kSilu, nullptr},
    {"qwen3moe", Norm::kRms, Rope::kHalves, Activation::kSilu, nullptr},
    {"gemma2", Norm::kRms, Rope::kHalves, Activation::kGeluTanh, read_gemma2},
    {"gemma3", Norm::kRms, Rope::kHalves, Activation::kGeluTanh, read_gemma3},
    {"phi3", Norm::kRms, Rope::kHalves, Activation::kSilu, read_phi3},
    {"gptj", Norm::kLayer, Rope::kInterleaved, Activation::kGeluTanh, read_parallel},
    {"gpt2", Norm::kLayer, Rope::kNone, Activation::kGeluTanh, nullptr},
    {"gptneox", Norm::kLayer, Rope::kHalves, Activation::kGeluErf, read_gptneox},
    {"falcon", Norm::kLayer, Rope::kHalves, Activation::kGeluErf, read_parallel},
    {"starcoder2", Norm::kLayer, Rope::kHalves, Activation::kGeluTanh, read_starcoder2},
    {"olmo2", Norm::kRms, Rope::kHalves, Activation::kSilu, nullptr},
    {"granite", Norm::kRms, Rope::kInterleaved, Activation::kSilu, read_granite},
    {"smollm3", Norm::kRms, Rope::kInterleaved, Activation::kSilu, read_smollm3},
    {"gpt-oss", Norm::kRms, Rope::kHalves, Activation::kSwigluClamped, read_gptoss},
};

void read_rope(const Keys& keys, Config& c) {
  c.rope_dim = keys.count_or("rope.dimension_count", c.head_dim, 2, c.head_dim);
  if (c.rope_dim % 2) fail(ErrorKind::kInvalidModel, "%s is odd", keys.full("rope.dimension_count").c_str());
  c.rope_base = keys.number_or("rope.freq_base", 10000.0f, 1.0f, kAny);
  c.rope_ctx_original = keys.count_or("rope.scaling.original_context_length", c.n_ctx_train, 1, int64_t{1} << 31);
  c.rope_attn_factor = keys.number_or("rope.scaling.attn_factor", 0.0f, 0.0f, kAny);
  c.yarn_beta_fast = keys.number_or("rope.scaling.yarn_beta_fast", 32.0f, 0.0f, kAny);
  c.yarn_beta_slow = keys.number_or("rope.scaling.yarn_beta_slow", 1.0f, 0.0f, kAny);
  // Files of 2023 have only the second of these, and no type.
  float factor = keys.number_or("rope.scaling.factor", 0.0f, 0.0f, kAny);
  if (factor == 0.0f) factor = keys.number_or("rope.scale_linear", 1.0f, 0.0f, kAny);
  c.rope_factor = factor > 0.0f ? factor : 1.0f;
  const std::string type = keys.text_or("rope.scaling.type", c.rope_factor != 1.0f ? "linear" : "none");
  if (type == "none") {
    c.rope_scaling = RopeScaling::kNone, c.rope_factor = 1.0f;
  } else if (type == "linear") {
    c.rope_scaling = RopeScaling::kLinear;
  } else if (type == "yarn") {
    c.rope_scaling = RopeScaling::kYarn;
  } else if (type == "longrope") {
    c.rope_scaling = RopeScaling::kLongRope;
  } else {
    fail(ErrorKind::kUnsupported, "%s is \"%.40s\"; none, linear, yarn and longrope are known",
         keys.full("rope.scaling.type").c_str(), type.c_str());
  }
}

void read_common(const Keys& keys, Config& c) {
  c.n_layers = keys.count("block_count", 1, 1000);
  c.dim = keys.count("embedding_length", 1, kMost);
  c.n_ctx_train = keys.count("context_length", 1, int64_t{1} << 31);
  c.n_heads = keys.uniform("attention.head_count", 0, 1, 65536);
  if (c.n_heads == 0) fail(ErrorKind::kInvalidModel, "%s is missing", keys.full("attention.head_count").c_str());
  c.n_kv_heads = keys.uniform("attention.head_count_kv", c.n_heads, 1, c.n_heads);
  c.ffn_dim = keys.uniform("feed_forward_length", 0, 0, kMost);
  if (c.n_heads % c.n_kv_heads) {
    fail(ErrorKind::kInvalidModel, "%lld heads cannot share %lld key-value heads", static_cast<long long>(c.n_heads),
         static_cast<long long>(c.n_kv_heads));
  }
  if (!keys.has("attention.key_length") && c.dim % c.n_heads) {
    fail(ErrorKind::kInvalidModel, "%lld dimensions cannot be parted among %lld heads", static_cast<long long>(c.dim),
         static_cast<long long>(c.n_heads));
  }
  c.head_dim = keys.count_or("attention.key_length", c.dim / c.n_heads, 1, 4096);
  c.value_dim = keys.count_or("attention.value_length", c.head_dim, 1, 4096);
  const char* eps = c.norm == Norm::kRms ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon";
  c.norm_eps = keys.number_or(eps, 1e-5f, 0.0f, 1.0f);
  c.attn_scale = keys.number_or("attention.scale", 1.0f / std::sqrt(static_cast<float>(c.head_dim)), -kAny, kAny);
  if (c.rope != Rope::kNone) read_rope(keys, c);
  c.n_experts = keys.count_or("expert_count", 0, 0, 4096);
  if (c.n_experts > 0) {
    c.n_experts_used = keys.count("expert_used_count", 1, c.n_experts);
    c.expert_ffn_dim = keys.count_or("expert_feed_forward_length", c.ffn_dim, 1, kMost);
  }
}

}  // namespace

std::string known_architectures() {
  std::vector<std::string> names;
  for (const Row& row : kRows) names.emplace_back(row.name);
  std::sort(names.begin(), names.end());
  std::string all;
  for (const std::string& name : names) all += (all.empty() ? "" : ", ") + name;
  return all;
}

Config read_config(const Gguf& file) {
  Config c;
  c.architecture = std::string(file.require_str("general.architecture"));
  const Row* row = std::find_if(std::begin(kRows), std::end(kRows), [&](const Row& r) { return r.name == c.architecture; });
  if (row == std::end(kRows)) {
    fail(ErrorKind::kUnsupported, "the architecture \"%.60s\" is not known; known are %s", c.architecture.c_str(),
         known_architectures().c_str());
  }
  c.norm = row->norm, c.rope = row->rope, c.activation = row->activation;
  const Keys keys(file, c.architecture);
  read_common(keys, c);
  if (row->read) row->read(keys, c);
  const TensorInfo& embd = file.require_tensor("token_embd.weight");
  c.n_vocab = static_cast<int64_t>(embd.ne[1]);
  return c;
}

}  // namespace pl

#include "hparams.h"

#include <algorithm>
#include <cmath>

#include "error.h"

namespace pl {

int64_t Keys::count(const char* key, int64_t least, int64_t most) const {
  return static_cast<int64_t>(file_.require_u64(full(key), static_cast<uint64_t>(least), static_cast<uint64_t>(most)));
}

int64_t Keys::count_or(const char* key, int64_t fallback, int64_t least, int64_t most) const {
  return has(key) ? count(key, least, most) : fallback;
}

int64_t Keys::uniform(const char* key, int64_t fallback, int64_t least, int64_t most) const {
  if (!has(key) || !is_array(key)) return count_or(key, fallback, least, most);
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

float Keys::number_or(const char* key, float fallback, float least, float most) const {
  const std::optional<float> value = file_.f32(full(key));
  if (!value) return fallback;
  if (!(*value >= least && *value <= most)) {
    fail(ErrorKind::kInvalidModel, "%s is %g, and must be from %g to %g", full(key).c_str(),
         static_cast<double>(*value), static_cast<double>(least), static_cast<double>(most));
  }
  return *value;
}

float Keys::factor_or(const char* key, float fallback) const {
  const float value = number_or(key, fallback, -kAny, kAny);
  return value == 0.0f ? fallback : value;
}

std::string Keys::text_or(const char* key, const char* fallback) const {
  const std::optional<std::string_view> value = file_.str(full(key));
  return value ? std::string(*value) : fallback;
}

namespace {

// By how much cos and sin grow when contexts are stretched by `factor` (Peng et al. 2023; DeepSeek has a multiplier).
float yarn_growth(float factor, float multiplier = 1.0f) {
  return factor > 1.0f ? 1.0f + 0.1f * multiplier * std::log(factor) : 1.0f;
}

void read_rope(const Keys& keys, Config& c) {
  c.rope_dim = keys.count_or("rope.dimension_count", c.head_dim, 2, c.head_dim);
  if (c.rope_dim % 2) fail(ErrorKind::kInvalidModel, "%s is odd", keys.full("rope.dimension_count").c_str());
  c.rope_base = keys.number_or("rope.freq_base", 10000.0f, 1.0f, kAny);
  c.rope_ctx_original = keys.count_or("rope.scaling.original_context_length", c.n_ctx_train, 1, int64_t{1} << 31);
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
    // A multiplier takes back what the stretch alone would give; an attention factor replaces both.
    const float multiplier = keys.number_or("rope.scaling.yarn_log_multiplier", 0.0f, 0.0f, kAny);
    c.rope_magnitude = yarn_growth(c.rope_factor) / yarn_growth(c.rope_factor, multiplier);
    c.rope_magnitude = keys.factor_or("rope.scaling.yarn_attn_factor", c.rope_magnitude);
  } else if (type == "longrope") {
    c.rope_scaling = RopeScaling::kLongRope;
  } else {
    fail(ErrorKind::kUnsupported, "%s is \"%.40s\"; none, linear, yarn and longrope are known",
         keys.full("rope.scaling.type").c_str(), type.c_str());
  }
  c.rope_magnitude *= keys.factor_or("rope.scaling.attn_factor", 1.0f);
}

void read_experts(const Keys& keys, Config& c) {
  c.n_experts = keys.count_or("expert_count", 0, 0, 4096);
  if (c.n_experts == 0) return;
  c.n_experts_used = keys.count("expert_used_count", 1, c.n_experts);
  c.expert_ffn_dim = keys.uniform("expert_feed_forward_length", c.ffn_dim, 1, kMost);
  c.n_dense_layers = keys.count_or("leading_dense_block_count", 0, 0, c.n_layers);
  const int64_t shared = keys.count_or("expert_shared_count", 0, 0, 4096) * c.expert_ffn_dim;
  c.shared_ffn_dim = keys.count_or("expert_shared_feed_forward_length", shared, 0, kMost);
  c.experts_scale = keys.factor_or("expert_weights_scale", 1.0f);
  c.experts_normalized = keys.flag_or("expert_weights_norm", c.experts_normalized);
  enum { kUnsaid, kSoftmax, kSigmoid, kSoftmaxOfChosen };
  const int64_t gating = keys.count_or("expert_gating_func", kUnsaid, kUnsaid, kSoftmaxOfChosen);
  if (gating != kUnsaid) c.experts_sigmoid = gating == kSigmoid;
  if (gating == kSoftmaxOfChosen) c.experts_normalized = true;  // which is the same
  c.n_expert_groups = std::max<int64_t>(keys.count_or("expert_group_count", 1, 0, c.n_experts), 1);
  if (c.n_expert_groups == 1) return;
  c.n_expert_groups_used = keys.count("expert_group_used_count", 1, c.n_expert_groups);
  const int64_t size = c.n_experts / c.n_expert_groups;
  if (c.n_experts % c.n_expert_groups || size * c.n_expert_groups_used < c.n_experts_used) {
    fail(ErrorKind::kInvalidModel, "%lld experts cannot be chosen from %lld of %lld groups of %lld experts",
         static_cast<long long>(c.n_experts_used), static_cast<long long>(c.n_expert_groups_used),
         static_cast<long long>(c.n_expert_groups), static_cast<long long>(c.n_experts));
  }
}

}  // namespace

void read_common(const Keys& keys, Config& c) {
  c.n_layers = keys.count("block_count", 1, 1000);
  c.n_layers_ahead = keys.count_or("nextn_predict_layers", 0, 0, c.n_layers - 1);
  c.n_layers -= c.n_layers_ahead;
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
  c.attn_scale = keys.factor_or("attention.scale", 1.0f / std::sqrt(static_cast<float>(c.head_dim)));
  if (!keys.flag_or("attention.causal", true)) {
    fail(ErrorKind::kUnsupported, "%s is false: models that look ahead write embeddings, not texts, and are not known",
         keys.full("attention.causal").c_str());
  }
  if (c.rope != Rope::kNone) read_rope(keys, c);
  read_experts(keys, c);
}

void read_window(const Keys& keys, Config& c, int64_t fallback, int64_t every) {
  c.window = keys.count_or("attention.sliding_window", fallback, 0, kMost);
  if (c.window == 0) return;
  const char* pattern = "attention.sliding_window_pattern";
  if (keys.has(pattern) && keys.is_array(pattern)) {
    c.sliding = keys.flags(pattern);
    if (c.sliding.size() != static_cast<size_t>(c.n_layers)) {
      fail(ErrorKind::kInvalidModel, "%s has %zu entries for %lld layers", keys.full(pattern).c_str(), c.sliding.size(),
           static_cast<long long>(c.n_layers));
    }
    return;
  }
  every = keys.count_or(pattern, every, 0, kMost);
  for (int64_t i = 0; i < c.n_layers; ++i) c.sliding.push_back(every == 0 || i % every != every - 1);
}

void read_alibi(const Keys& keys, Config& c) {
  const float most = keys.number_or("attention.max_alibi_bias", 8.0f, 0.0f, 1000.0f);
  int64_t power = 1;
  while (power * 2 <= c.n_heads) power *= 2;
  for (int64_t h = 0; h < c.n_heads; ++h) {
    // Heads beyond the power of two take their slopes from between the others'.
    const auto steps = static_cast<float>(h < power ? 2 * (h + 1) : 2 * (h - power) + 1);
    c.alibi_slopes.push_back(std::exp2(-most * steps / static_cast<float>(2 * power)));
  }
}

}  // namespace pl

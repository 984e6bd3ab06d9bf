#include "architectures.h"

#include <algorithm>
#include <cmath>

#include "error.h"
#include "hparams.h"

namespace pl {
namespace {

float root(int64_t n) { return std::sqrt(static_cast<float>(n)); }

void read_gemma(const Keys&, Config& c) { c.embedding_scale = root(c.dim); }

void read_gemma2(const Keys& keys, Config& c) {
  c.embedding_scale = root(c.dim);
  c.attn_soft_cap = keys.number_or("attn_logit_softcapping", 50.0f, 0.0f, kAny);
  c.final_soft_cap = keys.number_or("final_logit_softcapping", 30.0f, 0.0f, kAny);
  read_window(keys, c, 4096, 2);
  // The 27 B model scales by its width, not by its heads' size; nothing in the usual file says so but its depth.
  if (c.n_layers == 46 && !keys.has("attention.scale")) c.attn_scale = 1.0f / root(c.dim / c.n_heads);
}

void read_gemma3(const Keys& keys, Config& c) {
  c.embedding_scale = root(c.dim);
  c.final_soft_cap = keys.number_or("final_logit_softcapping", 0.0f, 0.0f, kAny);
  read_window(keys, c, 0, 6);
  c.rope_base_local = keys.number_or("rope.freq_base_swa", 10000.0f, 1.0f, kAny);
  if (c.n_layers == 62 && !keys.has("attention.scale")) c.attn_scale = 1.0f / root(c.dim / c.n_heads);  // 27 B again
}

void read_phi3(const Keys& keys, Config& c) { read_window(keys, c, 0, 0); }

void read_starcoder2(const Keys& keys, Config& c) { read_window(keys, c, 4096, 0); }  // converters leave it out

void read_granite(const Keys& keys, Config& c) {
  c.embedding_scale = keys.factor_or("embedding_scale", 1.0f);
  c.residual_scale = keys.factor_or("residual_scale", 1.0f);
  c.logit_scale = 1.0f / keys.factor_or("logit_scale", 1.0f);
  c.shared_ffn_dim = keys.count_or("expert_shared_feed_forward_length", 0, 0, kMost);
  if (!keys.flag_or("rope.scaling.finetuned", true)) c.nope_every = 1;  // its way to say that no layer turns
}

void read_minicpm(const Keys& keys, Config& c) {  // the first files had no keys for these
  c.embedding_scale = keys.factor_or("embedding_scale", 12.0f);
  c.residual_scale = keys.factor_or("residual_scale", 1.4f / root(c.n_layers));
  c.logit_scale = 1.0f / keys.factor_or("logit_scale", static_cast<float>(c.dim) / 256.0f);
}

void read_smollm3(const Keys&, Config& c) { c.nope_every = 4; }

void read_gptneox(const Keys& keys, Config& c) {
  c.parallel_residual = keys.flag_or("use_parallel_residual", true);
}

void read_stablelm(const Keys& keys, Config& c) {
  // Converters write that blocks are parallel where nobody said so; then there is one norm for both.
  c.parallel_residual = keys.flag_or("use_parallel_residual", true) && !keys.has_tensor("blk.0.ffn_norm.weight");
}

void read_gptoss(const Keys& keys, Config& c) {
  read_window(keys, c, 128, 2);
  c.yarn_truncate = false;
}

void read_olmo(const Keys& keys, Config& c) { c.qkv_clamp = keys.number_or("attention.clamp_kqv", 0.0f, 0.0f, kAny); }

void read_olmo2(const Keys& keys, Config& c) {  // sliding ones are OLMo 3
  read_window(keys, c, 0, 4);
  if (c.window > 0) c.rope_base_local = keys.number_or("rope.freq_base_swa", c.rope_base, 1.0f, kAny);
  // The first files of OLMo 3 have here what replaces YaRN's own factor, and not what is multiplied with it.
  if (c.rope_scaling != RopeScaling::kYarn) return;
  c.rope_magnitude = keys.factor_or("rope.scaling.attn_factor", c.rope_magnitude);
}

void read_mpt(const Keys& keys, Config& c) {
  read_olmo(keys, c);
  read_alibi(keys, c);
}

void read_baichuan(const Keys&, Config& c) {
  if (c.n_layers == 40) fail(ErrorKind::kUnsupported, "Baichuan's 13 B model, which has 40 layers, is not known");
}

void read_commandr(const Keys& keys, Config& c) { c.logit_scale = keys.factor_or("logit_scale", 1.0f); }

void read_cohere2(const Keys& keys, Config& c) {
  c.logit_scale = keys.factor_or("logit_scale", 1.0f);
  read_window(keys, c, 4096, 4);
  c.nope_global = true;
}

void read_exaone4(const Keys& keys, Config& c) {
  read_window(keys, c, 0, 4);
  c.nope_global = c.window > 0;
}

void read_qwen2moe(const Keys&, Config& c) {
  if (c.shared_ffn_dim == 0) c.shared_ffn_dim = c.ffn_dim;
}

void read_ernie(const Keys& keys, Config&) {
  if (keys.count_or("interleave_moe_layer_step", 1, 1, 1000) == 1) return;
  fail(ErrorKind::kUnsupported, "%s: layers without experts between others are not known",
       keys.full("interleave_moe_layer_step").c_str());
}

void read_glm4moe(const Keys& keys, Config& c) {  // the larger of them normalizes queries and keys
  if (keys.has_tensor("blk.0.attn_q_norm.weight")) c.qk_norm = QkNorm::kHeads;
}

void read_deepseek2(const Keys& keys, Config& c) {
  c.kv_rank = keys.count("attention.kv_lora_rank", 1, kMost);
  c.q_rank = keys.count_or("attention.q_lora_rank", 0, 0, kMost);
  // Files of before April 2025 have the matrices that make keys and values as they are, not for each head to absorb.
  c.absorbs_latent = keys.has("attention.key_length_mla");
  c.latent_key_dim = keys.count_or("attention.key_length_mla", c.head_dim, c.rope_dim + 1, 4096);
  c.latent_value_dim = keys.count_or("attention.value_length_mla", c.value_dim, 1, 4096);
  const int64_t key = c.absorbs_latent ? c.kv_rank + c.rope_dim : c.latent_key_dim;
  if (c.head_dim != key || (c.absorbs_latent && (c.value_dim != c.kv_rank || c.n_kv_heads != 1)) ||
      (!c.absorbs_latent && c.n_kv_heads != c.n_heads)) {
    fail(ErrorKind::kInvalidModel, "the sizes of heads do not go with %s", keys.full("attention.kv_lora_rank").c_str());
  }
  // A tenth of what the model's authors call mscale_all_dim: a longer context makes attention sharper.
  const float multiplier = keys.number_or("rope.scaling.yarn_log_multiplier", 0.0f, 0.0f, kAny);
  const float growth = 1.0f + multiplier * std::log(c.rope_factor);
  c.attn_scale = growth * growth / root(c.latent_key_dim);
  if (c.rope_scaling == RopeScaling::kYarn && multiplier > 0) c.rope_magnitude = 1.0f;
  // V3 came with the bias and with sigmoids; not every file says the latter.
  const std::string bias = "blk." + std::to_string(c.n_dense_layers) + ".exp_probs_b.bias";
  if (!keys.has("expert_gating_func")) c.experts_sigmoid = keys.has_tensor(bias.c_str());
}

void read_mistral3(const Keys& keys, Config& c) {
  c.attn_temperature = keys.number_or("attention.temperature_scale", 0.0f, 0.0f, kAny);
  c.attn_temperature_ctx = keys.count_or("attention.temperature_length", c.rope_ctx_original, 1, int64_t{1} << 31);
}

struct Row {
  const char* name;
  Kind kind;
  void (*read)(const Keys&, Config&) = nullptr;  // the keys that only it has
};

// Short names for the table.
constexpr Norm kLayer = Norm::kLayer;
constexpr Rope kHalves = Rope::kHalves, kNoRope = Rope::kNone;
constexpr Activation kGeluTanh = Activation::kGeluTanh, kGeluErf = Activation::kGeluErf;
constexpr Activation kReluSquared = Activation::kReluSquared, kSwigluClamped = Activation::kSwigluClamped;
constexpr QkNorm kHeads = QkNorm::kHeads, kWhole = QkNorm::kWhole, kOwn = QkNorm::kOwn;
constexpr BlockNorms kAround = BlockNorms::kAround, kBehind = BlockNorms::kBehind;

constexpr Row kRows[] = {
    {"llama", {}},
    {"internlm2", {}},
    {"xverse", {}},
    {"baichuan", {}, read_baichuan},
    {"exaone", {.rope = kHalves}},
    {"arcee", {.activation = kReluSquared, .gated = false}},
    {"minicpm", {}, read_minicpm},
    {"mistral3", {}, read_mistral3},
    {"smollm3", {}, read_smollm3},
    {"granite", {}, read_granite},
    {"granitemoe", {}, read_granite},
    {"chatglm", {}},
    {"glm4", {.norms = kAround}},
    {"glm4moe", {.rope = kHalves, .ffn_norm = "post_attention_norm", .experts_sigmoid = true}, read_glm4moe},
    {"ernie4_5", {}},
    {"ernie4_5-moe", {}, read_ernie},
    {"seed_oss", {.rope = kHalves, .ffn_norm = "post_attention_norm"}},
    {"exaone4", {.rope = kHalves, .qk_norm = kHeads, .norms = kBehind}, read_exaone4},
    {"hunyuan-dense", {.rope = kHalves, .qk_norm = kHeads, .qk_norm_after_rope = true}},

    {"qwen2", {.rope = kHalves}},
    {"qwen2moe", {.rope = kHalves, .shared_gated = true, .experts_normalized = false}, read_qwen2moe},
    {"qwen2vl", {.rope = kHalves}},  // of the models that see, what they do with text
    {"qwen3vl", {.rope = kHalves, .qk_norm = kHeads}},
    {"qwen3vlmoe", {.rope = kHalves, .qk_norm = kHeads}},
    {"qwen3", {.rope = kHalves, .qk_norm = kHeads}},
    {"qwen3moe", {.rope = kHalves, .qk_norm = kHeads}},
    {"deepseek2", {.experts_normalized = false}, read_deepseek2},
    {"dots1", {.rope = kHalves, .qk_norm = kHeads, .experts_sigmoid = true, .experts_normalized = false}},

    {"gemma", {.rope = kHalves, .activation = kGeluTanh}, read_gemma},
    {"gemma2", {.rope = kHalves, .activation = kGeluTanh, .norms = kAround}, read_gemma2},
    {"gemma3", {.rope = kHalves, .activation = kGeluTanh, .qk_norm = kHeads, .norms = kAround}, read_gemma3},

    {"olmo", {.norm = kLayer, .norm_weights = false}, read_olmo},
    {"olmo2", {.rope = kHalves, .qk_norm = kWhole, .norms = kBehind}, read_olmo2},
    {"olmoe", {.rope = kHalves, .qk_norm = kWhole, .experts_normalized = false}},

    {"command-r", {.norm = kLayer, .qk_norm = kOwn, .parallel_residual = true}, read_commandr},
    {"cohere2", {.norm = kLayer, .parallel_residual = true}, read_cohere2},

    {"gpt-oss",
     {.rope = kHalves, .activation = kSwigluClamped, .ffn_norm = "post_attention_norm", .sinks = true},
     read_gptoss},

    {"phi2",
     {.norm = kLayer, .rope = kHalves, .activation = kGeluTanh, .gated = false, .parallel_residual = true}},
    {"phi3", {.rope = kHalves}, read_phi3},
    {"stablelm", {.norm = kLayer, .rope = kHalves, .qk_norm = kOwn}, read_stablelm},
    {"nemotron", {.norm = kLayer, .rope = kHalves, .activation = kReluSquared, .gated = false}},

    {"gpt2", {.norm = kLayer, .rope = kNoRope, .activation = kGeluTanh, .gated = false, .learned_positions = true}},
    {"starcoder",
     {.norm = kLayer, .rope = kNoRope, .activation = kGeluTanh, .gated = false, .learned_positions = true}},
    {"mpt", {.norm = kLayer, .rope = kNoRope, .activation = kGeluErf, .gated = false}, read_mpt},
    {"bloom",
     {.norm = kLayer, .rope = kNoRope, .activation = kGeluTanh, .gated = false, .embd_norm = true},
     read_alibi},
    {"starcoder2", {.norm = kLayer, .rope = kHalves, .activation = kGeluTanh, .gated = false}, read_starcoder2},
    {"gptj", {.norm = kLayer, .activation = kGeluTanh, .gated = false, .parallel_residual = true}},
    {"gptneox",
     {.norm = kLayer, .rope = kHalves, .activation = kGeluErf, .gated = false, .parallel_residual = true},
     read_gptneox},
    {"falcon", {.norm = kLayer, .rope = kHalves, .activation = kGeluErf, .gated = false, .parallel_residual = true}},
};

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
  const auto named = [&](const Row& row) { return row.name == c.architecture; };
  const Row* row = std::find_if(std::begin(kRows), std::end(kRows), named);
  if (row == std::end(kRows)) {
    fail(ErrorKind::kUnsupported, "the architecture \"%.60s\" is not known; known are %s", c.architecture.c_str(),
         known_architectures().c_str());
  }
  static_cast<Kind&>(c) = row->kind;
  const Keys keys(file, c.architecture);
  read_common(keys, c);
  if (row->read) row->read(keys, c);
  // Mistral's first models, say, which share their architecture with others: all layers slide then.
  if (c.window == 0) read_window(keys, c, 0, 0);
  // Widths that no layer has would cost memory.
  if (!c.has_experts(c.n_layers - 1)) c.n_experts = c.expert_ffn_dim = c.shared_ffn_dim = 0;
  if (c.has_experts(0)) c.ffn_dim = 0;
  const TensorInfo& embd = file.require_tensor("token_embd.weight");
  c.n_vocab = static_cast<int64_t>(embd.ne[1]);
  return c;
}

}  // namespace pl

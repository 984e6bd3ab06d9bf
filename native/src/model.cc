#include "model.h"

#include <algorithm>
#include <unordered_set>

#include "architectures.h"
#include "error.h"

namespace pl {
namespace {

// Takes tensors out of the file, each against the shape that the config wants.
class Loader {
 public:
  explicit Loader(Model& model) : m_(model), c_(model.config) {}

  // The matrix `name`.weight with its bias if it has one; fails if it is missing.
  Matrix matrix(const std::string& name, int64_t rows, int64_t cols) {
    Matrix found = optional_matrix(name, rows, cols);
    if (!found) fail(ErrorKind::kInvalidModel, "the model has no tensor %s.weight", name.c_str());
    return found;
  }

  Matrix optional_matrix(const std::string& name, int64_t rows, int64_t cols) {
    const TensorInfo* t = take(name + ".weight");
    if (!t) return {};
    expect(*t, {cols, rows});
    Matrix out = view(*t, rows, cols);
    out.bias = vector(name + ".bias", rows);
    return out;
  }

  // The matrices of n experts: `name`_exps of three dimensions, or as until April 2024 `name`.0, `name`.1, …
  Experts experts(const std::string& name, int64_t n, int64_t rows, int64_t cols) {
    const std::string joint = name + "_exps.weight";
    Experts out = stack(joint, n, rows, cols);
    if (out.all) {
      if (const TensorInfo* bias = take(name + "_exps.bias")) {
        expect(*bias, {rows, n});
        out.all.bias = floats(*bias);
      }
      return out;
    }
    if (!m_.file.tensor(name + ".0.weight")) {
      fail(ErrorKind::kInvalidModel, "the model has no tensor %s", joint.c_str());
    }
    for (int64_t i = 0; i < n; ++i) {
      out.each.push_back(matrix(name + "." + std::to_string(i), rows, cols));
      if (out.each.back().type == out.each[0].type) continue;
      fail(ErrorKind::kUnsupported, "the tensors %s.0 and %s.%lld differ in type, which the engine does not know",
           name.c_str(), name.c_str(), static_cast<long long>(i));
    }
    return out;
  }

  // n matrices in one tensor of three dimensions, if the file has it.
  Experts stack(const std::string& tensor, int64_t n, int64_t rows, int64_t cols) {
    Experts out;
    out.rows = out.step = rows;
    if (const TensorInfo* t = take(tensor)) {
      expect(*t, {cols, rows, n});
      out.all = view(*t, n * rows, cols);
    }
    return out;
  }

  // The F32 values of a vector of n elements; null if there is none of that name.
  const float* vector(const std::string& name, int64_t n) {
    const TensorInfo* t = take(name);
    if (!t) return nullptr;
    expect(*t, {n});
    return floats(*t);
  }

  // The norm `name`, whose weights the file must have, if the architecture's norms have any.
  NormWeights norm(const std::string& name, int64_t n) {
    if (!c_.norm_weights) return {nullptr, nullptr, true};
    const NormWeights found = optional_norm(name, n);
    if (!found) fail(ErrorKind::kInvalidModel, "the model has no tensor %s.weight", name.c_str());
    return found;
  }

  NormWeights optional_norm(const std::string& name, int64_t n) {
    const float* weight = vector(name + ".weight", n);
    return {weight, weight ? vector(name + ".bias", n) : nullptr, weight != nullptr};
  }

  Layer layer(int64_t i);

  // Fails if the file has a tensor that nothing took: what it is for is not known, and without it the model would
  // compute something else.
  void expect_all_taken() const {
    for (const TensorInfo& t : m_.file.tensors()) {
      if (taken_.count(&t) || is_ahead(t.name)) continue;
      fail(ErrorKind::kUnsupported, "the tensor %s has no place in the engine's %s", t.name.c_str(),
           c_.architecture.c_str());
    }
  }

 private:
  // Whether a tensor belongs to a layer behind the last one that is used.
  bool is_ahead(const std::string& name) const {
    for (int64_t i = c_.n_layers; i < c_.n_layers + c_.n_layers_ahead; ++i) {
      if (name.rfind("blk." + std::to_string(i) + ".", 0) == 0) return true;
    }
    return false;
  }

  const TensorInfo* take(const std::string& name) {
    const TensorInfo* t = m_.file.tensor(name);
    if (t) taken_.insert(t);
    return t;
  }

  void attention(const std::string& at, Layer& l);
  void latent_attention(const std::string& at, Layer& l);
  NormWeights heads_norm(const std::string& name, int64_t n_heads);
  void norms(const std::string& at, Layer& l);
  Ffn feed_forward(const std::string& at, const char* suffix, int64_t width);
  void mixture(const std::string& at, Layer& l);

  void expect(const TensorInfo& t, std::initializer_list<int64_t> shape) {
    bool same = static_cast<size_t>(t.n_dims) <= 4;
    std::string wanted;
    size_t d = 0;
    for (const int64_t n : shape) {
      same = same && t.ne[d++] == static_cast<uint64_t>(n);
      wanted += (wanted.empty() ? "" : " x ") + std::to_string(n);
    }
    for (; d < 4; ++d) same = same && t.ne[d] == 1;
    if (same) return;
    std::string found;
    for (int k = 0; k < t.n_dims; ++k) found += (k ? " x " : "") + std::to_string(t.ne[k]);
    fail(ErrorKind::kInvalidModel, "the tensor %s is %s, and the header wants %s", t.name.c_str(), found.c_str(),
         wanted.c_str());
  }

  Matrix view(const TensorInfo& t, int64_t rows, int64_t cols) {
    const TypeInfo& type = info(t.type);
    Matrix out;
    out.type = t.type, out.data = t.data, out.rows = rows, out.cols = cols;
    out.row_bytes = cols / type.block_elements * type.block_bytes;
    out.mat = &mat_type(kernels(), t.type);
    return out;
  }

  const float* floats(const TensorInfo& t) {
    const auto n = static_cast<size_t>(t.n_elements());
    m_.vectors.push_back(std::make_unique<float[]>(n));
    float* out = m_.vectors.back().get();
    mat_type(kernels(), t.type).dequant(t.data, out, static_cast<int64_t>(n));
    return out;
  }

  Model& m_;
  const Config& c_;
  std::unordered_set<const TensorInfo*> taken_;
};

void Loader::latent_attention(const std::string& at, Layer& l) {
  const int64_t n = c_.n_heads, q = n * c_.latent_key_dim, plain = c_.latent_key_dim - c_.rope_dim;
  if (c_.q_rank > 0) {
    l.q_down = matrix(at + "attn_q_a", c_.q_rank, c_.dim);
    l.q_down_norm = norm(at + "attn_q_a_norm", c_.q_rank);
    l.wq = matrix(at + "attn_q_b", q, c_.q_rank);
  } else {
    l.wq = matrix(at + "attn_q", q, c_.dim);
  }
  l.kv_down = matrix(at + "attn_kv_a_mqa", c_.kv_rank + c_.rope_dim, c_.dim);
  l.kv_down_norm = norm(at + "attn_kv_a_norm", c_.kv_rank);
  l.wo = matrix(at + "attn_output", c_.dim, c_.attended_dim());
  if (!c_.absorbs_latent) {
    l.kv_up = matrix(at + "attn_kv_b", n * (plain + c_.latent_value_dim), c_.kv_rank);
    return;
  }
  l.k_up = stack(at + "attn_k_b.weight", n, c_.kv_rank, plain);
  l.v_up = stack(at + "attn_v_b.weight", n, c_.latent_value_dim, c_.kv_rank);
  if (l.k_up.all && l.v_up.all) return;
  fail(ErrorKind::kInvalidModel, "the model has no tensor %sattn_%c_b.weight", at.c_str(), l.k_up.all ? 'v' : 'k');
}

void Loader::attention(const std::string& at, Layer& l) {
  if (c_.kv_rank > 0) return latent_attention(at, l);
  const int64_t q = c_.n_heads * c_.head_dim, kv = c_.kv_dim(), v = c_.v_dim();
  if (const Matrix fused = optional_matrix(at + "attn_qkv", q + kv + v, c_.dim)) {
    l.wq = fused.slice(0, q), l.wk = fused.slice(q, kv), l.wv = fused.slice(q + kv, v);
  } else {
    if (!m_.file.tensor(at + "attn_q.weight")) {
      fail(ErrorKind::kInvalidModel, "the model has neither a tensor %sattn_qkv.weight nor %sattn_q.weight", at.c_str(),
           at.c_str());
    }
    l.wq = matrix(at + "attn_q", q, c_.dim);
    l.wk = matrix(at + "attn_k", kv, c_.dim);
    l.wv = matrix(at + "attn_v", v, c_.dim);
  }
  l.wo = matrix(at + "attn_output", c_.dim, c_.n_heads * c_.value_dim);
  l.q_norm = heads_norm(at + "attn_q_norm", c_.n_heads);
  l.k_norm = heads_norm(at + "attn_k_norm", c_.n_kv_heads);
  if (!c_.sinks) return;
  l.sinks = vector(at + "attn_sinks.weight", c_.n_heads);
  if (!l.sinks) fail(ErrorKind::kInvalidModel, "the model has no tensor %sattn_sinks.weight", at.c_str());
}

NormWeights Loader::heads_norm(const std::string& name, int64_t n_heads) {
  if (c_.qk_norm == QkNorm::kNone) return {};
  if (c_.qk_norm == QkNorm::kHeads) return norm(name, c_.head_dim);
  if (c_.qk_norm == QkNorm::kWhole) return norm(name, n_heads * c_.head_dim);
  const TensorInfo* t = take(name + ".weight");
  if (!t) return {};
  expect(*t, {c_.head_dim, n_heads});
  return {floats(*t), nullptr, true};
}

Ffn Loader::feed_forward(const std::string& at, const char* suffix, int64_t width) {
  Ffn out;
  const std::string up = at + "ffn_up" + suffix, gate = at + "ffn_gate" + suffix;
  if (width == 0) fail(ErrorKind::kInvalidModel, "%s.feed_forward_length is missing", c_.architecture.c_str());
  const TensorInfo* t = m_.file.tensor(up + ".weight");
  if (c_.gated && t && t->ne[1] == 2 * static_cast<uint64_t>(width) && !m_.file.tensor(gate + ".weight")) {
    const Matrix fused = matrix(up, 2 * width, c_.dim);  // as in phi3 and glm4
    out.gate = fused.slice(0, width), out.up = fused.slice(width, width);
  } else {
    if (c_.gated) out.gate = matrix(gate, width, c_.dim);
    out.up = matrix(up, width, c_.dim);
  }
  out.down = matrix(at + "ffn_down" + suffix, c_.dim, width);
  return out;
}

void Loader::mixture(const std::string& at, Layer& l) {
  const int64_t n = c_.n_experts, width = c_.expert_ffn_dim;
  l.router = matrix(at + "ffn_gate_inp", n, c_.dim);
  l.router_bias = vector(at + "exp_probs_b.bias", n);
  if (m_.file.tensor(at + "ffn_gate_up_exps.weight")) {
    l.expert_gate = l.expert_up = experts(at + "ffn_gate_up", n, 2 * width, c_.dim);
    l.expert_gate.rows = l.expert_up.rows = l.expert_up.first = width;
  } else {
    l.expert_gate = experts(at + "ffn_gate", n, width, c_.dim);
    l.expert_up = experts(at + "ffn_up", n, width, c_.dim);
  }
  l.expert_down = experts(at + "ffn_down", n, c_.dim, width);
  if (c_.shared_ffn_dim == 0) return;
  l.shared = feed_forward(at, "_shexp", c_.shared_ffn_dim);
  if (c_.shared_gated) l.shared_gate = matrix(at + "ffn_gate_inp_shexp", 1, c_.dim);
}

void Loader::norms(const std::string& at, Layer& l) {
  if (c_.norms != BlockNorms::kBefore) {
    l.attn_post_norm = norm(at + "post_attention_norm", c_.dim);
    l.ffn_post_norm = norm(at + "post_ffw_norm", c_.dim);
  }
  if (c_.norms == BlockNorms::kBehind) return;
  l.attn_norm = norm(at + "attn_norm", c_.dim);
  // Parallel blocks may share one norm.
  l.ffn_norm = c_.parallel_residual ? optional_norm(at + c_.ffn_norm, c_.dim) : norm(at + c_.ffn_norm, c_.dim);
  if (c_.architecture == "falcon") {
    // With two norms, the first in the file's order is the ffn's, and attn_norm_2 the attention's.
    if (const NormWeights second = optional_norm(at + "attn_norm_2", c_.dim)) {
      l.ffn_norm = l.attn_norm, l.attn_norm = second;
    }
  }
}

Layer Loader::layer(int64_t i) {
  const std::string at = "blk." + std::to_string(i) + ".";
  Layer l;
  norms(at, l);
  attention(at, l);
  if (c_.has_experts(i)) {
    mixture(at, l);
  } else {
    l.ffn = feed_forward(at, "", c_.ffn_dim);
  }
  return l;
}

}  // namespace

std::unique_ptr<Model> Model::load(const std::string& path, bool use_mmap) {
  auto model = std::unique_ptr<Model>(new Model{Gguf::open(path, use_mmap), {}, {}, {}, nullptr});
  model->config = read_config(model->file);
  const Config& c = model->config;
  Weights& w = model->weights;
  Loader load(*model);
  w.token_embd = load.matrix("token_embd", c.n_vocab, c.dim);
  w.token_embd.bias = nullptr;
  if (c.learned_positions) w.position_embd = load.matrix("position_embd", c.n_ctx_train, c.dim);
  if (c.embd_norm) w.embd_norm = load.norm("token_embd_norm", c.dim);
  for (int64_t i = 0; i < c.n_layers; ++i) w.layers.push_back(load.layer(i));
  // A width that no tensor has borne out would size arrays all the same.
  const auto none = [&](auto has) { return std::none_of(w.layers.begin(), w.layers.end(), has); };
  if (none([](const Layer& l) { return bool{l.ffn.up}; })) model->config.ffn_dim = 0;
  if (none([](const Layer& l) { return bool{l.router}; })) model->config.expert_ffn_dim = 0;
  if (none([](const Layer& l) { return bool{l.shared.up}; })) model->config.shared_ffn_dim = 0;
  w.output_norm = load.norm("output_norm", c.dim);
  w.output = load.optional_matrix("output", c.n_vocab, c.dim);
  if (!w.output) w.output = w.token_embd;
  w.rope_factors = load.vector("rope_freqs.weight", c.rope_dim / 2);
  w.rope_factors_long = load.vector("rope_factors_long.weight", c.rope_dim / 2);
  w.rope_factors_short = load.vector("rope_factors_short.weight", c.rope_dim / 2);
  if (!w.rope_factors_long != !w.rope_factors_short) {
    fail(ErrorKind::kInvalidModel, "the model has no tensor rope_factors_%s.weight",
         w.rope_factors_long ? "short" : "long");
  }
  load.expect_all_taken();
  std::vector<std::span<const std::byte>> parts;
  for (const TensorInfo& t : model->file.tensors()) {
    // Of the embedding a text needs a few rows, unless it is the output's matrix as well.
    const bool rows_only = t.data == w.token_embd.data && w.output.data != w.token_embd.data;
    if (model->file.mapped(t) && !rows_only) parts.emplace_back(t.data, t.nbytes);
  }
  model->page_in = std::make_unique<PageIn>(std::move(parts));
  return model;
}

}  // namespace pl

#include "ops.h"

#include <algorithm>

namespace pl {
namespace {

// What gpt-oss fixes for its clamped activation.
constexpr float kSwigluAlpha = 1.702f, kSwigluLimit = 7.0f;

// Rows of a matrix in one piece of work: enough to be worth handing out, few enough that no thread waits long for the last.
// Kernels take 16 rows at a time, so pieces are whole sixteens.
int64_t rows_per_piece(int64_t rows, int threads) {
  return std::clamp<int64_t>(rows / (static_cast<int64_t>(threads) * 4) / 16 * 16, 16, 256);
}

}  // namespace

Rows Ops::prepare(const float* x, int64_t n, int64_t cols, std::initializer_list<const Matrix*> matrices,
                  std::vector<ActBlock>& scratch) {
  Rows out{x, n, cols, nullptr};
  const bool wanted = std::any_of(matrices.begin(), matrices.end(), [](const Matrix* m) {
    return *m && m->mat->int8_activations;
  });
  if (!wanted) return out;
  const int64_t blocks = cols / kActBlock, tile = k_.act_tile;
  if (scratch.size() < static_cast<size_t>(n * blocks)) scratch.resize(static_cast<size_t>(n * blocks));
  ActBlock* to = scratch.data();
  pool_.parallel_for(n, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t in_tile = i % tile, width = std::min(tile, n - (i - in_tile));
      k_.quantize_act(x + i * cols, to + (i - in_tile) * blocks + in_tile, width, cols);
    }
  });
  out.blocks = to;
  return out;
}

void Ops::matmul(const Matrix& w, const Rows& in, float* out, int64_t out_stride) {
  if (watcher_) watcher_->saw(w, in, pool_);
  pool_.parallel_for(w.rows, rows_per_piece(w.rows, pool_.threads()), [&](int64_t begin, int64_t end) {
    w.mat->multiply({w.row(begin), w.row_bytes, end - begin, in.cols, in.blocks, in.x, in.n, out + begin, out_stride});
    if (!w.bias) return;
    for (int64_t i = 0; i < in.n; ++i) k_.add(out + i * out_stride + begin, w.bias + begin, out + i * out_stride + begin, end - begin);
  });
}

void Ops::norm(const Config& c, const NormWeights& w, const float* x, float* out, int64_t n, int64_t dim) {
  pool_.parallel_for(n, 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (c.norm == Norm::kRms) {
        k_.rms_norm(x + i * dim, w.weight, out + i * dim, dim, c.norm_eps);
      } else {
        k_.layer_norm(x + i * dim, w.weight, w.bias, out + i * dim, dim, c.norm_eps);
      }
    }
  });
}

void Ops::activate(const Config& c, const float* gate, const float* up, float* out, int64_t n, int64_t dim) {
  const float* from = gate ? gate : up;
  const float* times = gate ? up : nullptr;
  pool_.parallel_for(n, 1, [&](int64_t begin, int64_t end) {
    const int64_t at = begin * dim, count = (end - begin) * dim;
    const float* factor = times ? times + at : nullptr;
    switch (c.activation) {
      case Activation::kSilu: k_.silu_mul(from + at, factor, out + at, count); break;
      case Activation::kGeluTanh: k_.gelu_tanh_mul(from + at, factor, out + at, count); break;
      case Activation::kGeluErf: k_.gelu_erf_mul(from + at, factor, out + at, count); break;
      case Activation::kSwigluClamped:
        k_.swiglu_clamped(from + at, factor, out + at, count, kSwigluAlpha, kSwigluLimit);
        break;
      case Activation::kReluSquared:
        for (int64_t i = at; i < at + count; ++i) {
          const float positive = std::max(from[i], 0.0f);
          out[i] = positive * positive * (times ? times[i] : 1.0f);
        }
        break;
    }
  });
}

void Ops::add_scaled(float* x, const float* y, float scale, int64_t n, int64_t dim) {
  pool_.parallel_for(n, 8, [&](int64_t begin, int64_t end) {
    k_.axpy_f32(x + begin * dim, scale, y + begin * dim, (end - begin) * dim);
  });
}

}  // namespace pl

#include "ops.h"

#include <algorithm>

namespace pl {
namespace {

// What gpt-oss fixes for its clamped activation.
constexpr float kSwigluAlpha = 1.702f, kSwigluLimit = 7.0f;

// Panels of 16 rows in one piece of work: enough to be worth handing out, few enough that no thread waits long for the last.
int64_t panels_per_piece(int64_t panels, int threads) {
  return std::clamp<int64_t>(panels / (int64_t{4} * threads), 1, 16);
}

// Rows of `cols` floats that one thread does sooner than several would come together.
int64_t rows_alone(int64_t cols) { return std::max<int64_t>(1, (int64_t{16} << 10) / std::max<int64_t>(cols, 1)); }

}  // namespace

Rows Ops::prepare(const float* x, int64_t n, int64_t cols, std::initializer_list<const Matrix*> matrices,
                  std::vector<ActBlock>& scratch, int64_t at) {
  Rows out{x, n, cols, nullptr};
  const bool wanted = std::any_of(matrices.begin(), matrices.end(), [](const Matrix* m) {
    return *m && m->mat->int8_activations;
  });
  if (!wanted) return out;
  const int64_t blocks = cols / kActBlock, tile = k_.act_tile;
  const auto end = static_cast<size_t>(at + n * blocks);
  if (scratch.size() < end) scratch.resize(end);
  ActBlock* to = scratch.data() + at;
  pool_.parallel_for(n, rows_alone(cols), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t in_tile = i % tile, width = std::min(tile, n - (i - in_tile));
      k_.quantize_act(x + i * cols, to + (i - in_tile) * blocks + in_tile, width, cols);
    }
  });
  out.blocks = to;
  return out;
}

void Ops::matmul(std::span<const MatMul> products) {
  for (const MatMul& product : products) {
    if (watcher_ && product.w) watcher_->saw(product.w, product.in, pool_);
  }
  // Kernels take 16 rows at a time: the work is counted in those, one product's behind the other's.
  const auto panels = [](const MatMul& product) { return product.w ? (product.w.rows + 15) / 16 : 0; };
  int64_t all = 0;
  for (const MatMul& product : products) all += panels(product);
  pool_.parallel_for(all, panels_per_piece(all, pool_.threads()), [&](int64_t begin, int64_t end) {
    int64_t first = 0;  // of the product's
    for (const MatMul& product : products) {
      const int64_t from = std::max(begin, first), to = std::min(end, first + panels(product));
      if (from < to) multiply_rows(product, 16 * (from - first), std::min(product.w.rows, 16 * (to - first)));
      first += panels(product);
    }
  });
}

void Ops::multiply_rows(const MatMul& product, int64_t begin, int64_t end) const {
  const Matrix& w = product.w;
  const Rows& in = product.in;
  float* out = product.out + begin;
  w.mat->multiply({w.row(begin), w.row_bytes, end - begin, in.cols, in.blocks, in.x, in.n, out, product.out_stride});
  if (!w.bias) return;
  for (int64_t i = 0; i < in.n; ++i, out += product.out_stride) k_.add(out, w.bias + begin, out, end - begin);
}

void Ops::norm(const Config& c, const NormWeights& w, const float* x, float* out, int64_t n, int64_t dim) {
  pool_.parallel_for(n, rows_alone(dim), [&](int64_t begin, int64_t end) {
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
  pool_.parallel_for(n, rows_alone(dim), [&](int64_t begin, int64_t end) {
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
  pool_.parallel_for(n, rows_alone(dim), [&](int64_t begin, int64_t end) {
    k_.axpy_f32(x + begin * dim, scale, y + begin * dim, (end - begin) * dim);
  });
}

}  // namespace pl

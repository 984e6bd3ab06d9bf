// The operations of the forward pass on batches of rows: kernels, spread over threads.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model.h"
#include "thread_pool.h"

namespace pl {

// A batch of activation rows, in F32 and, where a matrix wants it, quantized; (n, cols).
struct Rows {
  const float* x = nullptr;
  int64_t n = 0, cols = 0;
  const ActBlock* blocks = nullptr;  // (n, cols / 32), valid after Ops::quantize
};

// Is shown what matrices are multiplied by, where somebody wants to know.
class Watcher {
 public:
  virtual ~Watcher() = default;
  virtual void saw(const Matrix& w, const Rows& in, ThreadPool& pool) = 0;
};

// out(i, :) = w · in(i, :) + bias, with rows of `out` out_stride apart.
struct MatMul {
  Matrix w;  // where it is not there, nothing is done
  Rows in;
  float* out;
  int64_t out_stride;
};

class Ops {
 public:
  Ops(ThreadPool& pool, const Kernels& table, Watcher* watcher = nullptr) : pool_(pool), k_(table), watcher_(watcher) {}

  const Kernels& kernels() const { return k_; }
  ThreadPool& pool() { return pool_; }

  // Rows ready to be multiplied by `matrices`: quantized into `scratch` if one of them wants that, from its block `at` on.
  Rows prepare(const float* x, int64_t n, int64_t cols, std::initializer_list<const Matrix*> matrices,
               std::vector<ActBlock>& scratch, int64_t at = 0);

  // All of them, handed to the threads as one piece of work.
  void matmul(std::span<const MatMul> products);
  void matmul(std::initializer_list<MatMul> products) { matmul(std::span(products.begin(), products.size())); }
  void matmul(const Matrix& w, const Rows& in, float* out, int64_t out_stride) { matmul({{w, in, out, out_stride}}); }

  // out(i, :) = norm(x(i, :)); in place if out is x.
  void norm(const Config& c, const NormWeights& w, const float* x, float* out, int64_t n, int64_t dim);

  // out(i, :) = activation(gate(i, :)) * up(i, :), or activation(up) where there is no gate.
  void activate(const Config& c, const float* gate, const float* up, float* out, int64_t n, int64_t dim);

  // x(i, :) += scale * y(i, :)
  void add_scaled(float* x, const float* y, float scale, int64_t n, int64_t dim);

 private:
  void multiply_rows(const MatMul& product, int64_t begin, int64_t end) const;

  ThreadPool& pool_;
  const Kernels& k_;
  Watcher* watcher_;  // or null
};

}  // namespace pl

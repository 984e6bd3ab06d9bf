#include "mla.h"

#include <algorithm>

namespace pl {
namespace {

// to(i, :cols) = from(i, :cols) for n rows, which lie so many elements apart.
void copy_rows(const float* from, int64_t from_stride, float* to, int64_t to_stride, int64_t cols, int64_t n) {
  for (int64_t i = 0; i < n; ++i) std::copy_n(from + i * from_stride, cols, to + i * to_stride);
}

float* room(std::vector<float>& array, int64_t size) {
  array.resize(static_cast<size_t>(size));
  return array.data();
}

// out(i, :) = m · x(i, :)
void product(Ops& ops, State& s, const Matrix& m, const float* x, int64_t n, float* out, int64_t out_stride) {
  ops.matmul(m, ops.prepare(x, n, m.cols, {&m}, s.blocks), out, out_stride);
}

// The same for the first elements of rows that are `stride` long.
void product_of_part(Ops& ops, State& s, const Matrix& m, const float* x, int64_t stride, int64_t n, float* out,
                     int64_t out_stride) {
  float* part = room(s.latent_part, n * m.cols);
  copy_rows(x, stride, part, m.cols, m.cols, n);
  product(ops, s, m, part, n, out, out_stride);
}

}  // namespace

void project_latent(const Config& c, const Layer& l, Ops& ops, State& s, const float* h, int64_t n) {
  const int64_t rope = c.rope_dim, plain = c.latent_key_dim - rope, rank = c.kv_rank;
  // Queries, each head's turning elements last.
  const int64_t q_cols = c.n_heads * c.latent_key_dim, q_stride = c.n_heads * c.head_dim;
  float* queries = room(s.latent_wide, n * q_cols);
  if (c.q_rank > 0) {
    float* low = room(s.latent, n * c.q_rank);
    product(ops, s, l.q_down, h, n, low, c.q_rank);
    ops.norm(c, l.q_down_norm, low, low, n, c.q_rank);
    product(ops, s, l.wq, low, n, queries, q_cols);
  } else {
    product(ops, s, l.wq, h, n, queries, q_cols);
  }
  for (int64_t head = 0; head < c.n_heads; ++head) {
    const float* from = queries + head * c.latent_key_dim;
    float* to = s.q.data() + head * c.head_dim;
    copy_rows(from + plain, q_cols, to, q_stride, rope, n);
    if (c.absorbs_latent) {
      product_of_part(ops, s, l.k_up[head], from, q_cols, n, to + rope, q_stride);
    } else {
      copy_rows(from, q_cols, to + rope, q_stride, plain, n);
    }
  }
  // The short vector, and behind it what of a key turns, one for all heads.
  float* low = room(s.latent, n * (rank + rope));
  product(ops, s, l.kv_down, h, n, low, rank + rope);
  float* normed = room(s.latent_part, n * rank);
  copy_rows(low, rank + rope, normed, rank, rank, n);
  ops.norm(c, l.kv_down_norm, normed, normed, n, rank);
  if (c.absorbs_latent) {  // it is key and value of all heads
    copy_rows(low + rank, rank + rope, s.k.data(), rank + rope, rope, n);
    copy_rows(normed, rank, s.k.data() + rope, rank + rope, rank, n);
    std::copy_n(normed, n * rank, s.v.data());
    return;
  }
  const int64_t each = plain + c.value_dim, cols = c.n_heads * each;
  float* made = room(s.latent_wide, n * cols);
  product(ops, s, l.kv_up, normed, n, made, cols);
  for (int64_t head = 0; head < c.n_heads; ++head) {
    float* key = s.k.data() + head * c.head_dim;
    copy_rows(low + rank, rank + rope, key, c.kv_dim(), rope, n);
    copy_rows(made + head * each, cols, key + rope, c.kv_dim(), plain, n);
    copy_rows(made + head * each + plain, cols, s.v.data() + head * c.value_dim, c.v_dim(), c.value_dim, n);
  }
}

const float* expand_latent(const Config& c, const Layer& l, Ops& ops, State& s, int64_t n) {
  if (!c.absorbs_latent) return s.attended.data();
  const int64_t cols = c.n_heads * c.latent_value_dim;
  float* out = room(s.latent_wide, n * cols);
  for (int64_t head = 0; head < c.n_heads; ++head) {
    product_of_part(ops, s, l.v_up[head], s.attended.data() + head * c.value_dim, c.n_heads * c.value_dim, n,
                    out + head * c.latent_value_dim, cols);
  }
  return out;
}

}  // namespace pl

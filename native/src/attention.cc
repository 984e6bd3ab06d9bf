#include "attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace pl {
namespace {

// Keys looked at together: their scores fit a cache line's neighbourhood, and the running maximum changes rarely.
constexpr int64_t kBlock = 64;

// One query head over the cache rows [first, last]: a softmax that keeps a running maximum, so that scores need no array.
// The order of additions depends on the positions alone, never on the batch.
class Head {
 public:
  Head(const Config& c, const KvCache& cache, const Kernels& k) : c_(c), cache_(cache), k_(k) {}

  void run(int64_t layer, const Item& item, int64_t kv_head, const float* sink, const float* q, float* out) {
    const int64_t first = c_.slides(layer) ? std::max<int64_t>(0, item.pos - c_.window + 1) : 0;
    // Quantized once for all keys: the products are of whole numbers then, as a matrix of Q8_0 makes them.
    if (cache_.type() == Type::Q8_0) k_.quantize_act(q, quantized_, 1, c_.head_dim);
    const int64_t key_at = cache_.bytes_of(kv_head * c_.head_dim), value_at = cache_.bytes_of(kv_head * c_.value_dim);
    std::fill_n(out, c_.value_dim, 0.0f);
    float top = -std::numeric_limits<float>::infinity(), sum = 0.0f;
    if (sink) top = *sink, sum = 1.0f;
    // Blocks are counted from position 0, so that a window's start does not shift them.
    for (int64_t at = first; at <= item.pos;) {
      const int64_t end = std::min<int64_t>((at / kBlock + 1) * kBlock, item.pos + 1);
      float scores[kBlock];
      float highest = -std::numeric_limits<float>::infinity();
      if (cache_.type() == Type::Q8_0) {
        k_.mat[static_cast<uint32_t>(Type::Q8_0)].multiply({cache_.key(layer, item.seq, at) + key_at, cache_.key_bytes(), end - at,
                                                            c_.head_dim, quantized_, nullptr, 1, scores, kBlock});
      } else {
        for (int64_t j = at; j < end; ++j) scores[j - at] = dot(cache_.key(layer, item.seq, j) + key_at, q);
      }
      for (int64_t j = at; j < end; ++j) {
        float score = c_.attn_scale * scores[j - at];
        if (c_.attn_soft_cap > 0) score = c_.attn_soft_cap * std::tanh(score / c_.attn_soft_cap);
        scores[j - at] = score;
        highest = std::max(highest, score);
      }
      if (highest > top) {
        const float shrink = std::exp(top - highest);
        k_.scale(out, shrink, c_.value_dim);
        sum *= shrink, top = highest;
      }
      for (int64_t j = at; j < end; ++j) {
        const float p = std::exp(scores[j - at] - top);
        sum += p;
        add(cache_.value(layer, item.seq, j) + value_at, p, out);
      }
      at = end;
    }
    k_.scale(out, 1.0f / sum, c_.value_dim);
  }

 private:
  float dot(const std::byte* key, const float* q) const {
    if (cache_.type() == Type::F16) return k_.dot_f16(reinterpret_cast<const uint16_t*>(key), q, c_.head_dim);
    return k_.dot_f32(reinterpret_cast<const float*>(key), q, c_.head_dim);
  }
  void add(const std::byte* value, float p, float* out) const {
    switch (cache_.type()) {
      case Type::F16: return k_.axpy_f16(out, p, reinterpret_cast<const uint16_t*>(value), c_.value_dim);
      case Type::Q8_0: return k_.axpy_q8_0(out, p, value, c_.value_dim);
      default: return k_.axpy_f32(out, p, reinterpret_cast<const float*>(value), c_.value_dim);
    }
  }

  const Config& c_;
  const KvCache& cache_;
  const Kernels& k_;
  ActBlock quantized_[KvCache::kMostQuantized / kActBlock];
};

}  // namespace

void store(const Config& c, KvCache& cache, Ops& ops, int64_t layer, std::span<const Item> batch, const float* k,
           const float* v) {
  const Kernels& table = ops.kernels();
  ops.pool().parallel_for(static_cast<int64_t>(batch.size()), 8, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Item& item = batch[static_cast<size_t>(i)];
      cache.pack(table, k + i * c.kv_dim(), cache.key(layer, item.seq, item.pos), c.kv_dim());
      cache.pack(table, v + i * c.v_dim(), cache.value(layer, item.seq, item.pos), c.v_dim());
    }
  });
}

void attend(const Config& c, const KvCache& cache, Ops& ops, int64_t layer, std::span<const Item> batch,
            const float* sinks, const float* q, float* out) {
  const int64_t n = static_cast<int64_t>(batch.size()), share = c.n_heads / c.n_kv_heads;
  ops.pool().parallel_for(n * c.n_heads, 1, [&](int64_t begin, int64_t end) {
    Head head(c, cache, ops.kernels());
    for (int64_t at = begin; at < end; ++at) {
      const int64_t i = at / c.n_heads, h = at % c.n_heads;
      head.run(layer, batch[static_cast<size_t>(i)], h / share, sinks ? sinks + h : nullptr,
               q + (i * c.n_heads + h) * c.head_dim, out + (i * c.n_heads + h) * c.value_dim);
    }
  });
}

}  // namespace pl

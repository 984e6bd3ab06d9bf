#include "kv_cache.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "error.h"
#include "memory.h"
#include "quant/blocks.h"
#include "quant/half.h"

namespace pl {

namespace {

int64_t row_bytes(Type type, int64_t n) { return n / info(type).block_elements * info(type).block_bytes; }

int64_t blocks(int64_t n_ctx) { return n_ctx / kAttentionKeys + (n_ctx % kAttentionKeys != 0 ? 1 : 0); }

}  // namespace

void KvCache::pack(const Kernels& k, const float* from, std::byte* to, int64_t n) const {
  if (type_ == Type::F16) {
    k.f32_to_f16(from, reinterpret_cast<uint16_t*>(to), n);
  } else if (type_ == Type::F32) {
    std::copy_n(from, n, reinterpret_cast<float*>(to));
  } else {
    auto* block = reinterpret_cast<BlockQ8_0*>(to);
    for (int64_t i = 0; i < n; i += kActBlock, ++block) {
      ActBlock act;
      k.quantize_act(from + i, &act, 1, kActBlock);
      block->d = f32_to_f16(act.d);
      std::memcpy(block->qs, act.q, sizeof act.q);
    }
  }
}

void KvCache::unpack(const Kernels& k, const std::byte* from, float* to, int64_t n) const {
  if (type_ == Type::F16) {
    k.f16_to_f32(reinterpret_cast<const uint16_t*>(from), to, n);
  } else if (type_ == Type::F32) {
    std::copy_n(reinterpret_cast<const float*>(from), n, to);
  } else {
    k.mat[static_cast<uint32_t>(type_)].dequant(from, to, n);
  }
}

template <class Element>
Element* KvCache::column(int64_t layer, int64_t seq, int64_t head, int64_t pos) const {
  return reinterpret_cast<Element*>(key_block(layer, seq, head, pos)) + pos % kAttentionKeys;
}

std::byte* KvCache::key_row(int64_t layer, int64_t seq, int64_t head, int64_t pos) const {
  return key_block(layer, seq, head, pos) + pos % kAttentionKeys * key_bytes_;
}

void KvCache::put_key(const Kernels& k, const float* key, int64_t layer, int64_t seq, int64_t head, int64_t pos) {
  if (type_ == Type::Q8_0) {
    pack(k, key, key_row(layer, seq, head, pos), head_dim_);
  } else if (type_ == Type::F32) {
    float* const to = column<float>(layer, seq, head, pos);
    for (int64_t i = 0; i < head_dim_; ++i) to[i * kAttentionKeys] = key[i];
  } else {
    auto* const to = column<uint16_t>(layer, seq, head, pos);
    uint16_t some[64];
    for (int64_t at = 0; at < head_dim_; at += 64) {
      const int64_t n = std::min<int64_t>(64, head_dim_ - at);
      k.f32_to_f16(key + at, some, n);
      for (int64_t i = 0; i < n; ++i) to[(at + i) * kAttentionKeys] = some[i];
    }
  }
}

void KvCache::get_key(const Kernels& k, int64_t layer, int64_t seq, int64_t head, int64_t pos, float* key) const {
  if (type_ == Type::Q8_0) {
    unpack(k, key_row(layer, seq, head, pos), key, head_dim_);
  } else if (type_ == Type::F32) {
    const float* const from = column<float>(layer, seq, head, pos);
    for (int64_t i = 0; i < head_dim_; ++i) key[i] = from[i * kAttentionKeys];
  } else {
    const auto* const from = column<uint16_t>(layer, seq, head, pos);
    for (int64_t i = 0; i < head_dim_; ++i) key[i] = f16_to_f32(from[i * kAttentionKeys]);
  }
}

void KvCache::move_keys(int64_t layer, int64_t seq, int64_t head, int64_t to, int64_t from, int64_t n) {
  const auto move = [&]<class Element>(Element) {
    for (int64_t i = 0; i < n; ++i) {
      const Element* const key = column<Element>(layer, seq, head, from + i);
      Element* const place = column<Element>(layer, seq, head, to + i);
      for (int64_t j = 0; j < head_dim_; ++j) place[j * kAttentionKeys] = key[j * kAttentionKeys];
    }
  };
  if (type_ == Type::F16) move(uint16_t{});
  else if (type_ == Type::F32) move(float{});
  else std::memmove(key_row(layer, seq, head, to), key_row(layer, seq, head, from), static_cast<size_t>(n * key_bytes_));  // rows follow each other
}

void KvCache::unpack_keys(const Kernels& k, const std::byte* block, int64_t n, float* rows, float* out) const {
  if (type_ != Type::Q8_0) return unpack(k, block, out, head_dim_ * kAttentionKeys);
  unpack(k, block, rows, n * head_dim_);
  k.transpose_keys(rows, head_dim_, n, head_dim_, out);
}

uint64_t KvCache::bytes_needed(const Config& c, int64_t n_seqs, int64_t n_ctx, Type type) {
  // Callers may ask for any context: the product is held at what no machine has, and fits an int64_t still.
  const auto times = [](uint64_t bytes, int64_t factor) {
    const auto most = static_cast<uint64_t>(INT64_MAX) / static_cast<uint64_t>(std::max<int64_t>(factor, 1));
    return bytes > most ? static_cast<uint64_t>(INT64_MAX) : bytes * static_cast<uint64_t>(factor);
  };
  const auto keys = times(static_cast<uint64_t>(row_bytes(type, c.kv_dim()) * kAttentionKeys), blocks(n_ctx));
  const auto values = times(static_cast<uint64_t>(row_bytes(type, c.v_dim())), n_ctx);
  return std::min<uint64_t>(times(times(keys, c.n_layers), n_seqs) + times(times(values, c.n_layers), n_seqs), INT64_MAX);
}

void KvCache::Free::operator()(std::byte* p) const { std::free(p); }

KvCache::KvCache(const Config& c, int64_t n_seqs, int64_t n_ctx, Type type)
    : n_seqs_(n_seqs), n_ctx_(n_ctx), n_blocks_(blocks(n_ctx)), n_heads_(c.n_kv_heads), head_dim_(c.head_dim), type_(type),
      bytes_(bytes_needed(c, n_seqs, n_ctx, type)) {
  const int64_t block = info(type).block_elements;
  if (c.head_dim % block != 0 || c.value_dim % block != 0) {
    fail(ErrorKind::kUsage,
         "this model's heads of %lld and %lld elements are not whole blocks of %lld: its cache cannot be %s; F16 can hold it",
         static_cast<long long>(c.head_dim), static_cast<long long>(c.value_dim), static_cast<long long>(block),
         info(type).name);
  }
  key_bytes_ = row_bytes(type, c.head_dim), value_bytes_ = row_bytes(type, c.value_dim);
  // calloc of this size maps zero pages, which cost nothing until they are written.
  data_.reset(static_cast<std::byte*>(std::calloc(bytes_, 1)));
  if (!data_) fail_memory(bytes_, "the keys and values of a context");
  values_at_ = c.n_layers * n_seqs * n_heads_ * n_blocks_ * key_block_bytes();  // smaller than what there is
}

}  // namespace pl

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

uint64_t KvCache::bytes_needed(const Config& c, int64_t n_seqs, int64_t n_ctx, Type type) {
  // Callers may ask for any context: the product is held at what no machine has, and fits an int64_t still.
  auto bytes = static_cast<uint64_t>(row_bytes(type, c.kv_dim()) + row_bytes(type, c.v_dim()));
  for (const int64_t factor : {c.n_layers, n_seqs, n_ctx}) {
    if (bytes > static_cast<uint64_t>(INT64_MAX) / static_cast<uint64_t>(std::max<int64_t>(factor, 1))) return INT64_MAX;
    bytes *= static_cast<uint64_t>(factor);
  }
  return bytes;
}

void KvCache::Free::operator()(std::byte* p) const { std::free(p); }

KvCache::KvCache(const Config& c, int64_t n_seqs, int64_t n_ctx, Type type)
    : n_seqs_(n_seqs), n_ctx_(n_ctx), n_heads_(c.n_kv_heads), type_(type), bytes_(bytes_needed(c, n_seqs, n_ctx, type)) {
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
  values_at_ = c.n_layers * n_seqs * n_heads_ * n_ctx * key_bytes_;  // smaller than what there is
}

}  // namespace pl

// Keys and values of the tokens that were evaluated, for every layer and sequence.
#pragma once

#include <cstdint>
#include <memory>

#include "model.h"

namespace pl {

// Each sequence has room for n_ctx tokens of its own, so that sequences never move each other. The memory is asked for
// at once and touched as tokens come: what is never used is never resident.
class KvCache {
 public:
  // `type` is F16, F32 or Q8_0; the last needs heads of whole blocks. Whether there is memory for it is asked before.
  KvCache(const Config& config, int64_t n_seqs, int64_t n_ctx, Type type);

  int64_t n_seqs() const { return n_seqs_; }
  int64_t n_ctx() const { return n_ctx_; }
  Type type() const { return type_; }
  uint64_t bytes() const { return bytes_; }

  // The key of `pos` of one KV head: (head_dim) elements of type(), as in a row of a matrix of that type. A head's keys
  // follow each other, for attention reads them one after the other.
  std::byte* key(int64_t layer, int64_t seq, int64_t head, int64_t pos) const {
    return data_.get() + (((layer * n_seqs_ + seq) * n_heads_ + head) * n_ctx_ + pos) * key_bytes_;
  }
  // … and the value: (value_dim).
  std::byte* value(int64_t layer, int64_t seq, int64_t head, int64_t pos) const {
    return data_.get() + values_at_ + (((layer * n_seqs_ + seq) * n_heads_ + head) * n_ctx_ + pos) * value_bytes_;
  }
  int64_t key_bytes() const { return key_bytes_; }
  int64_t value_bytes() const { return value_bytes_; }

  // Floats to elements (n of them, of one head or of several positions), and back.
  void pack(const Kernels& k, const float* from, std::byte* to, int64_t n) const;
  void unpack(const Kernels& k, const std::byte* from, float* to, int64_t n) const;
  // The bytes that a cache of this size takes.
  static uint64_t bytes_needed(const Config& config, int64_t n_seqs, int64_t n_ctx, Type type);

 private:
  struct Free {
    void operator()(std::byte* p) const;
  };

  int64_t n_seqs_, n_ctx_, n_heads_;
  Type type_;
  int64_t key_bytes_, value_bytes_, values_at_ = 0;
  uint64_t bytes_;
  std::unique_ptr<std::byte, Free> data_;
};

}  // namespace pl

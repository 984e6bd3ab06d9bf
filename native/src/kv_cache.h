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

  // The keys of one KV head lie in blocks of kAttentionKeys positions, as attention wants them: F16 and F32 as columns,
  // (head_dim, kAttentionKeys), so that a product with a query needs no sum across lanes; Q8_0, whose blocks run along a key,
  // as rows. This is where the block begins that holds `pos`.
  std::byte* key_block(int64_t layer, int64_t seq, int64_t head, int64_t pos) const {
    const int64_t block = ((layer * n_seqs_ + seq) * n_heads_ + head) * n_blocks_ + pos / kAttentionKeys;
    return data_.get() + block * key_block_bytes();
  }
  int64_t key_block_bytes() const { return kAttentionKeys * key_bytes_; }
  // Its first n keys as floats (head_dim, kAttentionKeys); `rows` has room for as many.
  void unpack_keys(const Kernels& k, const std::byte* block, int64_t n, float* rows, float* out) const;
  // The key of one position: (head_dim).
  void put_key(const Kernels& k, const float* key, int64_t layer, int64_t seq, int64_t head, int64_t pos);
  void get_key(const Kernels& k, int64_t layer, int64_t seq, int64_t head, int64_t pos, float* key) const;
  // Moves n keys down, bit by bit: those from `from` on to where those from `to` on are, which is below.
  void move_keys(int64_t layer, int64_t seq, int64_t head, int64_t to, int64_t from, int64_t n);

  // The value of `pos`: (value_dim) elements of type(), as in a row of a matrix of that type. A head's values follow each other.
  std::byte* value(int64_t layer, int64_t seq, int64_t head, int64_t pos) const {
    return data_.get() + values_at_ + (((layer * n_seqs_ + seq) * n_heads_ + head) * n_ctx_ + pos) * value_bytes_;
  }
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

  // The first element of the key of `pos`, the others are kAttentionKeys apart; or where its row begins.
  template <class Element>
  Element* column(int64_t layer, int64_t seq, int64_t head, int64_t pos) const;
  std::byte* key_row(int64_t layer, int64_t seq, int64_t head, int64_t pos) const;

  int64_t n_seqs_, n_ctx_, n_blocks_, n_heads_, head_dim_;
  Type type_;
  int64_t key_bytes_, value_bytes_, values_at_ = 0;
  uint64_t bytes_;
  std::unique_ptr<std::byte, Free> data_;
};

}  // namespace pl

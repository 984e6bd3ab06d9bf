// Rotary position embeddings: the angle of each pair at each position, with the ways in which contexts were stretched.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model.h"

namespace pl {

// Tables of cos and sin for the positions of a batch: global layers and sliding ones may turn at different speeds.
class RopeTables {
 public:
  // `n_ctx` decides which of LongRoPE's two sets of factors holds.
  RopeTables(const Model& model, int64_t n_ctx);

  // Computes the tables for these positions.
  void prepare(std::span<const int32_t> positions) { prepare(positions, false); }
  // … for turning further, by `by` positions, what was turned before: magnitudes are in it already.
  void prepare_turn(int32_t by) { prepare({&by, 1}, true); }

  // (rope_dim / 2) values for the i-th of them, in a layer that slides or does not.
  const float* cos(int64_t i, bool slides) const { return tables_[local(slides)].cos.data() + i * half_; }
  const float* sin(int64_t i, bool slides) const { return tables_[local(slides)].sin.data() + i * half_; }

 private:
  struct Table {
    std::vector<double> frequencies;  // (rope_dim / 2), radians for each position
    double magnitude = 1.0;           // multiplies cos and sin
    std::vector<float> cos, sin;      // (n, rope_dim / 2)
  };

  void prepare(std::span<const int32_t> positions, bool further);
  size_t local(bool slides) const { return slides && tables_.size() > 1 ? 1 : 0; }

  int64_t half_;
  std::vector<Table> tables_;  // the global layers', and the sliding ones' if they differ
};

}  // namespace pl

// What each matrix of a model is multiplied by, added up over texts: the sum of the squares in each column.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "gguf.h"
#include "model.h"
#include "ops.h"

namespace pl {

class ActivationSums : public Watcher {
 public:
  struct Sums {
    std::vector<double> squares;  // (matrices, cols): several where experts lie in one tensor
    std::vector<int64_t> counts;  // (matrices), of tokens
  };

  explicit ActivationSums(const Gguf& file);
  void saw(const Matrix& w, const Rows& in, ThreadPool& pool) override;
  // Of the tensor with this name; null if nothing was multiplied by it.
  const Sums* of(const std::string& tensor) const;

 private:
  struct Place {
    std::string name;
    uint64_t bytes, matrix_bytes;  // of the tensor, and of each matrix in it
    int64_t cols, matrices;
  };
  std::map<const std::byte*, Place> places_;  // by where their data begins
  std::map<std::string, Sums> sums_;
};

}  // namespace pl

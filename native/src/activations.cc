#include "activations.h"

namespace pl {

ActivationSums::ActivationSums(const Gguf& file) {
  for (const TensorInfo& tensor : file.tensors()) {
    if (tensor.n_dims < 2) continue;
    const uint64_t matrices = tensor.ne[2] * tensor.ne[3];
    places_[tensor.data] = {tensor.name, tensor.nbytes, tensor.nbytes / matrices, static_cast<int64_t>(tensor.ne[0]),
                            static_cast<int64_t>(matrices)};
  }
}

void ActivationSums::saw(const Matrix& w, const Rows& in, ThreadPool& pool) {
  auto found = places_.upper_bound(w.data);
  if (found == places_.begin()) return;
  const auto& [begin, place] = *--found;
  const auto offset = static_cast<uint64_t>(w.data - begin);
  // Of a tensor that is used in slices (queries, keys and values in one), the first stands for all: they see the same.
  if (offset >= place.bytes || offset % place.matrix_bytes != 0 || in.cols != place.cols) return;
  Sums& sums = sums_[place.name];
  if (sums.squares.empty()) {
    sums.squares.resize(static_cast<size_t>(place.matrices * place.cols));
    sums.counts.resize(static_cast<size_t>(place.matrices));
  }
  const auto matrix = static_cast<int64_t>(offset / place.matrix_bytes);
  sums.counts[static_cast<size_t>(matrix)] += in.n;
  double* const out = sums.squares.data() + matrix * place.cols;
  pool.parallel_for(place.cols, 256, [&](int64_t first, int64_t end) {
    for (int64_t i = 0; i < in.n; ++i) {
      const float* const x = in.x + i * in.cols;
      for (int64_t c = first; c < end; ++c) out[c] += static_cast<double>(x[c]) * static_cast<double>(x[c]);
    }
  });
}

const ActivationSums::Sums* ActivationSums::of(const std::string& tensor) const {
  const auto found = sums_.find(tensor);
  return found == sums_.end() ? nullptr : &found->second;
}

}  // namespace pl

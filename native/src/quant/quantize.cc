#include "quantize.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <new>
#include <vector>

#include "../error.h"
#include "../kernels/kernels.h"
#include "../memory.h"
#include "../thread_pool.h"
#include "dequant.h"

namespace pl {
namespace {

// An importance whose mean is 1, so that sums stay of the weights' own size; null stays null. What is not above 0 counts as
// little as anything may: a column that was never used must still hold something.
std::vector<float> normalized(const float* importance, int64_t cols) {
  if (!importance) return {};
  double sum = 0.0;
  for (int64_t i = 0; i < cols; ++i) {
    if (!std::isfinite(importance[i]) || importance[i] < 0.0f) {
      fail(ErrorKind::kUsage, "the importance of column %lld is %g", static_cast<long long>(i), static_cast<double>(importance[i]));
    }
    sum += static_cast<double>(importance[i]);
  }
  if (sum == 0.0) return {};
  std::vector<float> out(static_cast<size_t>(cols));
  const double factor = static_cast<double>(cols) / sum;
  for (int64_t i = 0; i < cols; ++i) {
    out[static_cast<size_t>(i)] = std::max(static_cast<float>(static_cast<double>(importance[i]) * factor), 1e-6f);
  }
  return out;
}

const TypeInfo& whole_rows(Type type, int64_t cols) {
  const TypeInfo* const facts = type_info(static_cast<uint32_t>(type));
  if (!facts) fail(ErrorKind::kUnsupported, "%u is no type of tensors", static_cast<unsigned>(type));
  if (cols % facts->block_elements != 0) {
    fail(ErrorKind::kUsage, "rows of %lld are not whole blocks of %s", static_cast<long long>(cols), facts->name);
  }
  return *facts;
}

// Halves are read and written by the kernels, which have the processor's own instructions for it.
void read_f16(const void* src, float* dst, int64_t n) { kernels().f16_to_f32(static_cast<const uint16_t*>(src), dst, n); }
void write_f16(const float* x, void* out, int64_t n, int64_t, const float*) {
  kernels().f32_to_f16(x, static_cast<uint16_t*>(out), n);
}

Dequant reader(Type type) { return type == Type::F16 ? read_f16 : dequantizer(type); }

Quantizers make_quantizers() {
  Quantizers out{};
  fill_baseline(out);
#if defined(__x86_64__)
  if (isa_allowed("avx2")) fill_avx2(out);
  if (isa_allowed("avx512")) fill_avx512(out);
#endif
  out.at[static_cast<uint32_t>(Type::F16)] = write_f16;
  return out;
}

// Weights in a piece of work: large against the fetching of the next piece, small against the second cache.
constexpr int64_t kPiece = 1 << 15;

}  // namespace

const Quantizers& quantizers() {
  static const Quantizers table = make_quantizers();
  return table;
}

Quantize quantizer(Type type) {
  const auto number = static_cast<uint32_t>(type);
  return number < std::size(quantizers().at) ? quantizers().at[number] : nullptr;
}

float limit(Type type) {
  switch (type) {
    case Type::F32: return std::numeric_limits<float>::infinity();
    case Type::BF16: return 3.3961775e38f;  // from the middle of the largest and infinity on
    case Type::Q8_0: return 65520.0f * 127;
    case Type::Q4_0: return 65520.0f * 8;
    case Type::Q5_0: return 65520.0f * 16;
    default: return 65520.0f;
  }
}

void requantize(const Requantize& work) {
  const TypeInfo& source = whole_rows(work.from, work.cols);
  const TypeInfo& to = whole_rows(work.to, work.cols);
  const Dequant read = reader(work.from);
  const Quantize write = quantizer(work.to);
  if (!read) fail(ErrorKind::kUnsupported, "tensors of type %s cannot be read as weights", source.name);
  if (!write) fail(ErrorKind::kUnsupported, "tensors of type %s cannot be written", to.name);
  const std::vector<float> importance = normalized(work.importance, work.cols);
  const int64_t from_bytes = work.cols / source.block_elements * source.block_bytes;
  const int64_t to_bytes = work.cols / to.block_elements * to.block_bytes;
  const int64_t rows_each = std::max<int64_t>(1, kPiece / std::max<int64_t>(work.cols, 1));
  const float too_large = limit(work.to);
  std::atomic<bool> cancelled{false}, strange{false}, overflow{false}, memory{false};
  const bool direct = work.from == Type::F32 && reinterpret_cast<uintptr_t>(work.src) % alignof(float) == 0;
  const auto piece = [&](int64_t row, int64_t rows) {
    thread_local std::vector<float> floats;
    const int64_t n = rows * work.cols;
    const char* const from = static_cast<const char*>(work.src) + row * from_bytes;
    const auto* x = reinterpret_cast<const float*>(from);
    if (!direct) {
      if (floats.size() < static_cast<size_t>(n)) floats.resize(static_cast<size_t>(n));
      read(from, floats.data(), n), x = floats.data();
    }
    const float most = quantizers().largest(x, n);
    if (!std::isfinite(most)) {
      strange = true;
    } else if (most >= too_large) {
      overflow = true;
    } else {
      write(x, static_cast<char*>(work.dst) + row * to_bytes, n, work.cols, importance.empty() ? nullptr : importance.data());
    }
  };
  ThreadPool pool(work.threads);
  pool.parallel_for(work.rows, rows_each, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end && !cancelled && !strange && !overflow && !memory; row += rows_each) {
      if (work.abort && __atomic_load_n(work.abort, __ATOMIC_RELAXED)) cancelled = true;
      try {  // nothing may leave a worker's piece
        piece(row, std::min(rows_each, end - row));
      } catch (const std::bad_alloc&) {
        memory = true;
      }
    }
  });
  if (memory) fail_memory(static_cast<uint64_t>(rows_each * work.cols) * sizeof(float), "the rows of a thread");
  if (cancelled) fail(ErrorKind::kCancelled, "quantizing was cancelled");
  if (strange) fail(ErrorKind::kInvalidModel, "it holds NaN or infinity");
  if (overflow) fail(ErrorKind::kInvalidModel, "it holds numbers too large for %s", to.name);
}

}  // namespace pl

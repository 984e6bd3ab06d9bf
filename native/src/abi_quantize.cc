// Tensors from one type into another: the part of the C interface that needs no model.
#include "abi.h"
#include "quant/quantize.h"
#include "types.h"

namespace pl {
namespace {

// rows * cols of a type in bytes; fails for what is no matrix of whole blocks, or larger than any address.
int64_t matrix_bytes(int32_t type, int64_t rows, int64_t cols) {
  const TypeInfo* const facts = type < 0 ? nullptr : type_info(static_cast<uint32_t>(type));
  if (!facts) fail(ErrorKind::kUsage, "%d is no type of tensors", type);
  if (rows < 0 || cols < 0 || cols % facts->block_elements != 0) {
    fail(ErrorKind::kUsage, "%lld rows of %lld are not whole blocks of %s", static_cast<long long>(rows),
         static_cast<long long>(cols), facts->name);
  }
  int64_t bytes = 0;
  if (__builtin_mul_overflow(cols / facts->block_elements, static_cast<int64_t>(facts->block_bytes), &bytes) ||
      __builtin_mul_overflow(bytes, rows, &bytes)) {
    fail(ErrorKind::kUsage, "%lld rows of %lld are too large", static_cast<long long>(rows), static_cast<long long>(cols));
  }
  return bytes;
}

void need_bytes(const void* pointer, int64_t given, int64_t wanted, const char* name) {
  need(pointer, given, name);
  if (given != wanted) {
    fail(ErrorKind::kUsage, "%s has %lld bytes, and should have %lld", name, static_cast<long long>(given),
         static_cast<long long>(wanted));
  }
}

}  // namespace
}  // namespace pl

extern "C" int32_t pl_requantize(const pl_requantization* given) {
  using namespace pl;
  return guarded(
      [&] {
        if (!given) fail(ErrorKind::kUsage, "the work is NULL");
        const pl_requantization w = known_part(given, "pl_requantization");
        need_bytes(w.src, w.src_bytes, matrix_bytes(w.from, w.rows, w.cols), "the source");
        need_bytes(w.dst, w.dst_bytes, matrix_bytes(w.to, w.rows, w.cols), "the destination");
        need(w.importance, w.n_importance, "the importance");
        if (w.n_importance != 0 && w.n_importance != w.cols) {
          fail(ErrorKind::kUsage, "an importance of %lld columns does not fit rows of %lld",
               static_cast<long long>(w.n_importance), static_cast<long long>(w.cols));
        }
        if (w.threads < 1 || w.threads > 1024) fail(ErrorKind::kUsage, "threads must be from 1 to 1024, not %d", w.threads);
        requantize({static_cast<Type>(w.from), static_cast<Type>(w.to), w.src, w.dst, w.rows, w.cols,
                    w.n_importance ? w.importance : nullptr, w.threads, w.abort});
        return int32_t{PL_OK};
      },
      failed_int);
}

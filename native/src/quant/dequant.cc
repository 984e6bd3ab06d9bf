#include "dequant.h"

#include <cstring>

#include "../error.h"
#include "half.h"
#include "unpack.h"

namespace pl {
namespace {

template <class Block, int kElements>
void dequantize(const void* src, float* dst, int64_t n) {
  const Block* b = static_cast<const Block*>(src);
  Group group;
  for (const float* const end = dst + n; dst < end; ++b) {
    for (int g = 0; g < kElements / 32; ++g, dst += 32) {
      unpack(*b, g, group);
      for (int i = 0; i < 32; ++i)
        dst[i] = group.scale[i / 16] * static_cast<float>(group.q[i]) - group.min[i / 16];
    }
  }
}

void from_f32(const void* src, float* dst, int64_t n) { std::memcpy(dst, src, static_cast<size_t>(n) * 4); }

void from_f16(const void* src, float* dst, int64_t n) {
  const auto* x = static_cast<const uint16_t*>(src);
  for (int64_t i = 0; i < n; ++i) dst[i] = f16_to_f32(x[i]);
}

void from_bf16(const void* src, float* dst, int64_t n) {
  const auto* x = static_cast<const uint16_t*>(src);
  for (int64_t i = 0; i < n; ++i) dst[i] = bf16_to_f32(x[i]);
}

}  // namespace

Dequant dequantizer(Type type) {
  switch (type) {
    case Type::F32: return from_f32;
    case Type::F16: return from_f16;
    case Type::BF16: return from_bf16;
    case Type::Q4_0: return dequantize<BlockQ4_0, 32>;
    case Type::Q4_1: return dequantize<BlockQ4_1, 32>;
    case Type::Q5_0: return dequantize<BlockQ5_0, 32>;
    case Type::Q5_1: return dequantize<BlockQ5_1, 32>;
    case Type::Q8_0: return dequantize<BlockQ8_0, 32>;
    case Type::Q2_K: return dequantize<BlockQ2_K, 256>;
    case Type::Q3_K: return dequantize<BlockQ3_K, 256>;
    case Type::Q4_K: return dequantize<BlockQ4_K, 256>;
    case Type::Q5_K: return dequantize<BlockQ5_K, 256>;
    case Type::Q6_K: return dequantize<BlockQ6_K, 256>;
    case Type::IQ4_NL: return dequantize<BlockIQ4_NL, 32>;
    case Type::IQ4_XS: return dequantize<BlockIQ4_XS, 256>;
    case Type::MXFP4: return dequantize<BlockMXFP4, 32>;
    case Type::IQ2_XXS: return dequantize<BlockIQ2_XXS, 256>;
    case Type::IQ2_XS: return dequantize<BlockIQ2_XS, 256>;
    case Type::IQ2_S: return dequantize<BlockIQ2_S, 256>;
    case Type::IQ3_XXS: return dequantize<BlockIQ3_XXS, 256>;
    case Type::IQ3_S: return dequantize<BlockIQ3_S, 256>;
    case Type::IQ1_S: return dequantize<BlockIQ1_S, 256>;
    case Type::IQ1_M: return dequantize<BlockIQ1_M, 256>;
    default: return nullptr;
  }
}

void dequantize_row(Type type, const void* src, float* dst, int64_t n) {
  const Dequant f = dequantizer(type);
  if (f == nullptr) {
    const TypeInfo* const facts = type_info(static_cast<uint32_t>(type));
    fail(ErrorKind::kUnsupported, "Tensors of type %s hold no weights that the engine can read.",
         facts != nullptr ? facts->name : "(unknown)");
  }
  f(src, dst, n);
}

}  // namespace pl

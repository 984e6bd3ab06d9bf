#include "types.h"

namespace pl {
namespace {

// In the order of their numbers. Those at the end have no name in Type: files may hold them, the engine
// cannot.
constexpr TypeInfo kTypes[] = {
    {Type::F32, "F32", 1, 4, true},
    {Type::F16, "F16", 1, 2, true},
    {Type::Q4_0, "Q4_0", 32, 18, true},
    {Type::Q4_1, "Q4_1", 32, 20, true},
    {Type::Q5_0, "Q5_0", 32, 22, true},
    {Type::Q5_1, "Q5_1", 32, 24, true},
    {Type::Q8_0, "Q8_0", 32, 34, true},
    {Type::Q8_1, "Q8_1", 32, 40, false},  // of activations in another engine
    {Type::Q2_K, "Q2_K", 256, 84, true},
    {Type::Q3_K, "Q3_K", 256, 110, true},
    {Type::Q4_K, "Q4_K", 256, 144, true},
    {Type::Q5_K, "Q5_K", 256, 176, true},
    {Type::Q6_K, "Q6_K", 256, 210, true},
    {Type::Q8_K, "Q8_K", 256, 292, false},  // of activations in another engine
    {Type::IQ2_XXS, "IQ2_XXS", 256, 66, true},
    {Type::IQ2_XS, "IQ2_XS", 256, 74, true},
    {Type::IQ3_XXS, "IQ3_XXS", 256, 98, true},
    {Type::IQ1_S, "IQ1_S", 256, 50, true},
    {Type::IQ4_NL, "IQ4_NL", 32, 18, true},
    {Type::IQ3_S, "IQ3_S", 256, 110, true},
    {Type::IQ2_S, "IQ2_S", 256, 82, true},
    {Type::IQ4_XS, "IQ4_XS", 256, 136, true},
    {Type::I8, "I8", 1, 1, false},
    {Type::I16, "I16", 1, 2, false},
    {Type::I32, "I32", 1, 4, false},
    {Type::I64, "I64", 1, 8, false},
    {Type::F64, "F64", 1, 8, false},
    {Type::IQ1_M, "IQ1_M", 256, 56, true},
    {Type::BF16, "BF16", 1, 2, true},
    {Type::TQ1_0, "TQ1_0", 256, 54, false},
    {Type::TQ2_0, "TQ2_0", 256, 66, false},
    {Type::MXFP4, "MXFP4", 32, 17, true},
    {static_cast<Type>(40), "NVFP4", 64, 36, false},
    {static_cast<Type>(41), "Q1_0", 128, 18, false},
};

}  // namespace

const TypeInfo* type_info(uint32_t type) {
  for (const TypeInfo& entry : kTypes) {
    if (static_cast<uint32_t>(entry.type) == type) return &entry;
  }
  return nullptr;
}

}  // namespace pl

// The tensor types of GGUF: their numbers in files, and how many bytes a block of each takes.
#pragma once

#include <cstdint>

namespace pl {

// Values are the file format's (ggml_type). Gaps are types that were withdrawn.
enum class Type : uint32_t {
  F32 = 0, F16 = 1, Q4_0 = 2, Q4_1 = 3, Q5_0 = 6, Q5_1 = 7, Q8_0 = 8, Q8_1 = 9,
  Q2_K = 10, Q3_K = 11, Q4_K = 12, Q5_K = 13, Q6_K = 14, Q8_K = 15,
  IQ2_XXS = 16, IQ2_XS = 17, IQ3_XXS = 18, IQ1_S = 19, IQ4_NL = 20, IQ3_S = 21, IQ2_S = 22, IQ4_XS = 23,
  I8 = 24, I16 = 25, I32 = 26, I64 = 27, F64 = 28, IQ1_M = 29, BF16 = 30, TQ1_0 = 34, TQ2_0 = 35, MXFP4 = 39,
};

struct TypeInfo {
  Type type;
  const char* name;
  uint32_t block_elements;  // elements in a block; rows are whole blocks
  uint32_t block_bytes;
  bool weights;  // whether the engine can multiply by a matrix of this type
};

// The facts of a type; nullptr for a number that is no type.
const TypeInfo* type_info(uint32_t type);
inline const TypeInfo& info(Type type) { return *type_info(static_cast<uint32_t>(type)); }

}  // namespace pl

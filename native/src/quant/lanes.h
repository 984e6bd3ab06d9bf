// Floats side by side, each in a lane of its own: the quantizers work on as many blocks at once as a register has lanes,
// so that nothing is ever added across lanes and every instruction set gives the same bytes. A file that includes this says
// first how many lanes it wants: PL_LANES. In a nameless namespace, for half.h's reason.
#pragma once

#include <cstdint>
#include <cstring>

#if !defined(PL_LANES)
#error "PL_LANES is the number of floats in a register of the instruction set that this file is compiled for"
#endif

namespace pl {
namespace {

constexpr int kLanes = PL_LANES;
typedef float Floats __attribute__((vector_size(4 * PL_LANES)));
typedef int32_t Ints __attribute__((vector_size(4 * PL_LANES)));

// Whole numbers as bytes. In two steps, each of which compilers have instructions for.
typedef int16_t Shorts __attribute__((vector_size(2 * PL_LANES)));
typedef int8_t Bytes __attribute__((vector_size(PL_LANES)));
inline void store_bytes(Ints x, void* out) {
  const Bytes bytes = __builtin_convertvector(__builtin_convertvector(x, Shorts), Bytes);
  std::memcpy(out, &bytes, sizeof bytes);
}

inline Floats splat(float x) { return Floats{} + x; }
// yes where the mask, of a comparison, says so; no where it does not.
inline Floats select(Ints mask, Floats yes, Floats no) { return mask ? yes : no; }
inline Floats where(Ints mask, Floats yes) { return reinterpret_cast<Floats>(mask & reinterpret_cast<Ints>(yes)); }
inline Floats smaller(Floats a, Floats b) { return a < b ? a : b; }
inline Floats larger(Floats a, Floats b) { return a > b ? a : b; }
inline Floats magnitude(Floats x) { return reinterpret_cast<Floats>(reinterpret_cast<Ints>(x) & 0x7FFFFFFF); }
inline Floats between(Floats x, float low, float high) { return smaller(larger(x, splat(low)), splat(high)); }

// To the nearest whole number, ties to even; |x| < 2^22. Above 1.5 * 2^23 a float's last bit is 1.
inline Floats nearest(Floats x) {
  constexpr float kShift = 12582912.0f;
  return (x + kShift) - kShift;
}


// a / b, and 0 where b is so small that nothing can be told.
inline Floats ratio(Floats a, Floats b) {
  const Ints usable = magnitude(b) > 1e-30f;
  return where(usable, a / select(usable, b, splat(1.0f)));
}

inline Floats load(const float* x) {
  Floats out;
  std::memcpy(&out, x, sizeof out);
  return out;
}

}  // namespace
}  // namespace pl

// What every kernel with vectors is written with: functions and loops that are written out where they stand, and names for weights of
// two bytes. To be included by files of kernels only, for it is compiled anew with each ISA's flags.
#pragma once

#include <cstdint>
#include <utility>

namespace pl {
namespace {

#define PL_INLINE inline __attribute__((always_inline))
#define PL_LAMBDA __attribute__((always_inline))
// Before loops over what must stay in registers.
#if defined(__clang__)
#define PL_UNROLL _Pragma("unroll")
#else
#define PL_UNROLL _Pragma("GCC unroll 16")
#endif

// Weights of two bytes, told apart by their types.
struct Half {
  uint16_t bits;
};
struct BrainHalf {
  uint16_t bits;
};

template <int kValue>
struct Const {
  static constexpr int value = kValue;
};

template <int kFrom, class F, int... kSteps>
PL_INLINE void unroll_steps(F& f, std::integer_sequence<int, kSteps...>) {
  (f(Const<kFrom + kSteps>{}), ...);
}
// f(Const<kFrom>) … f(Const<kTo - 1>), written out. Not by recursion: inlining that would copy each step at every level.
template <int kFrom, int kTo, class F>
PL_INLINE void unroll(F&& f) {
  unroll_steps<kFrom>(f, std::make_integer_sequence<int, (kTo > kFrom ? kTo - kFrom : 0)>{});
}

}  // namespace
}  // namespace pl

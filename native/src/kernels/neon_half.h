// IEEE halves by the processor's own conversions. In a nameless namespace, as all headers of kernels.
#pragma once

#include <arm_neon.h>

#include <cstdint>

namespace pl {
namespace {

inline float half_at(uint16_t h) {
  __fp16 x;
  __builtin_memcpy(&x, &h, sizeof x);
  return static_cast<float>(x);
}

}  // namespace
}  // namespace pl

#include "cpu.h"

#include <cstdint>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace pl {
namespace {

#if defined(__x86_64__)

bool bit(uint32_t word, int n) { return ((word >> n) & 1u) != 0; }

// Which register files the operating system saves on a context switch: the processor alone is not enough.
uint64_t saved_state() {
  uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}

Cpu detect() {
  Cpu found;
  uint32_t a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || !bit(c, 27)) return found;  // OSXSAVE: xgetbv may be asked
  constexpr uint64_t kYmm = 0x6;   // XMM and the upper halves of YMM
  constexpr uint64_t kZmm = 0xE6;  // and mask registers, upper halves of ZMM0-15, ZMM16-31
  const uint64_t saved = saved_state();
  const bool fma = bit(c, 12), avx = bit(c, 28), f16c = bit(c, 29);
  uint32_t b7 = 0, c7 = 0;
  if (__get_cpuid_count(7, 0, &a, &b7, &c7, &d) == 0) return found;
  const uint32_t subleaves = a;
  found.avx2 = (saved & kYmm) == kYmm && avx && fma && f16c && bit(b7, 5);
  found.avx512 =
      found.avx2 && (saved & kZmm) == kZmm && bit(b7, 16) && bit(b7, 17) && bit(b7, 30) && bit(b7, 31);
  found.avx512_vnni = found.avx512 && bit(c7, 11);
  if (subleaves >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0) {
    found.avx_vnni = found.avx2 && bit(a, 4);
    found.avx512_bf16 = found.avx512 && bit(a, 5);
  }
  return found;
}

#elif defined(__aarch64__)

Cpu detect() {
  Cpu found;
  found.neon = true;  // part of the base architecture
#if defined(__linux__)
  // Bit numbers of the kernel's interface, written out because older headers lack the names.
  found.dotprod = ((getauxval(AT_HWCAP) >> 20) & 1u) != 0;  // HWCAP_ASIMDDP
  found.i8mm = ((getauxval(26) >> 13) & 1u) != 0;           // AT_HWCAP2, HWCAP2_I8MM
#elif defined(__APPLE__)
  const auto has = [](const char* name) {
    int value = 0;
    size_t size = sizeof value;
    return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value != 0;
  };
  found.dotprod = has("hw.optional.arm.FEAT_DotProd");
  found.i8mm = has("hw.optional.arm.FEAT_I8MM");
#endif
  return found;
}

#else

Cpu detect() { return {}; }

#endif

}  // namespace

const Cpu& cpu() {
  static const Cpu found = detect();
  return found;
}

}  // namespace pl

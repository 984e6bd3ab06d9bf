// What the tests of the kernels share.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <vector>

#include "../src/cpu.h"
#include "../src/kernels/kernels.h"
#include "../src/rng.h"
#include "check.h"

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr int64_t kSizes[] = {1,  2,  3,  7,  8,   9,   15,  16,  17,  31,  32,
                               33, 63, 64, 65, 100, 127, 128, 255, 256, 257, 1000};

inline void expect_near(const pl::Kernels& k, const char* what, int64_t n, double found, double expected,
                        double tolerance) {
  if (std::fabs(found - expected) <= tolerance) return;
  check_failed(__FILE__, __LINE__,
               pl::text("%s %s, n = %lld: found %.9g, expected %.9g, tolerance %.3g", k.isa, what,
                        static_cast<long long>(n), found, expected, tolerance));
}

// Roughly normal, with an outlier here and there, as activations are.
inline std::vector<float> random_floats(int64_t n, uint64_t seed, bool outliers = false) {
  pl::Rng rng(seed);
  std::vector<float> out(static_cast<size_t>(n));
  for (float& x : out) {
    double sum = -3.0;
    for (int i = 0; i < 6; ++i) sum += rng.uniform();
    x = static_cast<float>(sum);
    if (outliers && rng.next() % 50 == 0) x *= 30.0f;
  }
  return out;
}

template <class T>
double d(T x) {
  return static_cast<double>(x);
}

#if defined(POCKETLLAMA_EMULATED)
void fill_emulated_vnni(pl::Kernels& table);         // emulated_vnni.cc
void fill_emulated_avx512(pl::Kernels& table);       // emulated_avx512.cc
void fill_emulated_avx512_vnni(pl::Kernels& table);  // emulated_avx512_vnni.cc

// Calls with the kernels of instruction sets that the machine may lack, done by AVX2's instructions.
template <class Function>
void each_emulated(Function&& function) {
  if (!pl::cpu().avx2) return;
  const auto call = [&](const char* isa, void (*fill)(pl::Kernels&), pl::Kernels k) {
    fill(k);
    k.isa = isa;
    std::printf("%s\n", isa);
    function(k);
    return k;
  };
  const pl::Kernels avx2 = pl::make_kernels("avx2");
  call("avx_vnni, emulated", fill_emulated_vnni, avx2);
  call("avx512_vnni, emulated", fill_emulated_avx512_vnni, call("avx512, emulated", fill_emulated_avx512, avx2));
}
#else
template <class Function>
void each_emulated(Function&&) {}
#endif

// Calls with each table of kernels that this machine has, and with what can be emulated.
template <class Function>
void each_isa(Function&& function) {
  for (const char* const isa : {"scalar", "avx2", "avx_vnni", "avx512", "avx512_vnni", "neon", "neon_dotprod", "neon_i8mm"}) {
    const pl::Kernels k = pl::make_kernels(isa);
    if (std::strcmp(k.isa, isa) != 0) continue;  // not here
    std::printf("%s\n", k.isa);
    function(k);
  }
  each_emulated(function);
}

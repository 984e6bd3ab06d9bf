// What this machine's processor can do, as far as the operating system lets it.
#pragma once

namespace pl {

struct Cpu {
  // x86-64
  bool avx2 = false;         // with FMA and F16C, which every processor with AVX2 that we know of has
  bool avx_vnni = false;     // vpdpbusd on ymm without AVX-512
  bool avx512 = false;       // F, BW, DQ and VL
  bool avx512_vnni = false;  // vpdpbusd on zmm
  bool avx512_bf16 = false;  // vdpbf16ps
  // aarch64
  bool neon = false;
  bool dotprod = false;  // sdot
  bool i8mm = false;     // smmla, usdot
};

// Asked once.
const Cpu& cpu();

}  // namespace pl

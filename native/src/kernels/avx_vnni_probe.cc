// Compiled with: -mavx2 -mavxvnni?
// The limits of AVX2 with AVX-VNNI.
#if defined(__x86_64__)

#include "avx2_probe.h"

namespace pl {

Probe avx_vnni_probe() { return kProbe; }

}  // namespace pl

#endif

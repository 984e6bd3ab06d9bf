// Compiled with: -mavx2
// The limits of AVX2.
#if defined(__x86_64__)

#include "avx2_probe.h"

namespace pl {

Probe avx2_probe() { return kProbe; }

}  // namespace pl

#endif

// The two limits of a machine that decide how fast a model can be, measured: for a share of the limit is a better figure
// than a speed.
#pragma once

namespace pl {

// Bytes a second that `threads` threads (at least 1) read from memory together, in the way that is the fastest here; takes
// about 0.5 s and 256 MiB.
double probe_bandwidth(int threads);

// Products of int8 a second that they do together, added up, on numbers in registers; takes about 0.1 s.
double probe_int8(int threads);

}  // namespace pl

// Both limits are numbers, however they are reached.
#include "../src/probe.h"

#include "check.h"

int main() {
  CHECK(pl::probe_bandwidth(2) > 0);
  CHECK(pl::probe_int8(2) > 0);
  return check_failures();
}

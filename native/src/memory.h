// What a machine has left, asked before it is taken: an allocation that is too large need not fail, it may end the process
// later, when it is used.
#pragma once

#include <cstdint>
#include <string>

namespace pl {

// Bytes of memory that could be taken now; UINT64_MAX where the system does not say.
uint64_t available_memory();

// Fails with kOutOfMemory, saying what is needed and what there is, if there are no `bytes` for `what`.
void expect_memory(uint64_t bytes, const std::string& what);
// The same failure, for an allocation that was refused nevertheless.
[[noreturn]] void fail_memory(uint64_t bytes, const std::string& what);

}  // namespace pl

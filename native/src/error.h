// The one kind of exception in the library. Nothing else is thrown on purpose, and none crosses the C ABI (abi.cc).
#pragma once

#include <cstdarg>
#include <stdexcept>
#include <string>

namespace pl {

enum class ErrorKind : int {
  kInternal = 1,         // a fault of ours
  kUsage = 2,            // an argument is wrong
  kContextOverflow = 3,  // the tokens do not fit the context
  kInvalidModel = 4,     // the file is damaged, or contradicts itself
  kUnsupported = 5,      // the file is fine, and of a kind that the engine does not know
  kOutOfMemory = 6,
  kIo = 7,
  kCancelled = 8,
};

class Error : public std::runtime_error {
 public:
  Error(ErrorKind what_kind, const std::string& message) : std::runtime_error(message), kind(what_kind) {}
  const ErrorKind kind;
};

#if defined(__GNUC__)
#define PL_PRINTF(format_index, first) __attribute__((format(printf, format_index, first)))
#else
#define PL_PRINTF(format_index, first)
#endif

// Throws an Error whose message is formatted like printf's.
[[noreturn]] PL_PRINTF(2, 3) void fail(ErrorKind kind, const char* format, ...);

// printf into a std::string.
PL_PRINTF(1, 2) std::string text(const char* format, ...);

}  // namespace pl

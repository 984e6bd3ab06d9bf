#include "error.h"

#include <cstdio>

namespace pl {
namespace {

std::string vtext(const char* format, va_list args) {
  va_list again;
  va_copy(again, args);
  const int n = std::vsnprintf(nullptr, 0, format, args);
  std::string out(n > 0 ? static_cast<size_t>(n) : 0, '\0');
  if (n > 0) std::vsnprintf(out.data(), out.size() + 1, format, again);
  va_end(again);
  return out;
}

}  // namespace

std::string text(const char* format, ...) {
  va_list args;
  va_start(args, format);
  std::string out = vtext(format, args);
  va_end(args);
  return out;
}

void fail(ErrorKind kind, const char* format, ...) {
  va_list args;
  va_start(args, format);
  std::string message = vtext(format, args);
  va_end(args);
  throw Error(kind, message);
}

}  // namespace pl

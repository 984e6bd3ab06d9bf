// What is thrown becomes a number and words: no exception crosses the C ABI.
#pragma once

#include <exception>
#include <new>
#include <string>
#include <string_view>

#include "../include/pocketllama.h"
#include "error.h"
#include "utf8_check.h"

namespace pl {

struct LastError {
  std::string words;
  int32_t kind = PL_OK;
};
inline thread_local LastError last_error;

// Words are UTF-8 and no book, whatever name of a file or a tensor stands in them.
inline std::string presentable(std::string_view words) {
  constexpr size_t kMost = 2000;
  std::string out(words.substr(0, kMost));
  for (size_t at; (at = first_invalid_utf8(out)) != std::string::npos;) out[at] = '?';
  if (words.size() > kMost) out += "...";
  return out;
}

inline int32_t record(ErrorKind kind, const char* words) noexcept {
  last_error.kind = -static_cast<int32_t>(kind);
  try {
    last_error.words = presentable(words);
  } catch (...) {
    last_error.words.clear();
  }
  return last_error.kind;
}

// Runs `body`; gives what it gives, or `failed(kind)` after noting what it threw.
template <typename Body, typename Failed>
auto guarded(const Body& body, const Failed& failed) noexcept -> decltype(body()) {
  try {
    return body();
  } catch (const Error& e) {
    return failed(record(e.kind, e.what()));
  } catch (const std::bad_alloc&) {
    return failed(record(ErrorKind::kOutOfMemory, "memory is used up"));
  } catch (const std::exception& e) {
    return failed(record(ErrorKind::kInternal, e.what()));
  } catch (...) {
    return failed(record(ErrorKind::kInternal, "something unknown was thrown"));
  }
}

}  // namespace pl

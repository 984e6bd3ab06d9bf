// The tests' checks: each prints what went wrong and counts it; main() ends with `return check_failures();`.
#pragma once

#include <cstdio>
#include <exception>
#include <sstream>
#include <string>

#include "../src/error.h"

inline int& check_count() {
  static int count = 0;
  return count;
}

inline void check_failed(const char* file, int line, const std::string& what) {
  if (++check_count() <= 50) std::fprintf(stderr, "%s:%d: %s\n", file, line, what.c_str());
}

// What main() returns: 0 if every check held.
inline int check_failures() {
  if (check_count() != 0) std::fprintf(stderr, "%d checks failed\n", check_count());
  return check_count() != 0;
}

template <class T>
std::string check_shown(const T& value) {
  std::ostringstream out;
  out << value;
  return out.str();
}

template <class A, class B>
void check_equal(const A& a, const B& b, const char* words, const char* file, int line) {
  if (!(a == b))
    check_failed(file, line, std::string(words) + ": " + check_shown(a) + " and " + check_shown(b));
}

template <class F>
void check_throws(pl::ErrorKind kind, const F& call, const char* words, const char* file, int line) {
  std::string found = "nothing was thrown";
  try {
    call();
  } catch (const pl::Error& e) {
    if (e.kind == kind) return;
    found = "kind " + std::to_string(static_cast<int>(e.kind)) + ": " + e.what();
  } catch (const std::exception& e) {
    found = e.what();
  }
  check_failed(file, line,
               std::string(words) + ": expected an Error of kind " + std::to_string(static_cast<int>(kind)) +
                   "; " + found);
}

#define CHECK(expr) ((expr) ? (void)0 : check_failed(__FILE__, __LINE__, #expr))
#define CHECK_EQ(a, b) check_equal((a), (b), #a " == " #b, __FILE__, __LINE__)
#define CHECK_THROWS(kind, expr) check_throws((kind), [&] { (void)(expr); }, #expr, __FILE__, __LINE__)

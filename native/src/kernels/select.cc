// Which kernels run here. To add an ISA: a row in kIsas, a file of kernels whose first line has its flags, its kFill… in
// kernels.h, and in left_out.cc for other families. Rows are in the order in which they overwrite each other.
#include <cstdlib>
#include <cstring>
#include <string>

#include "../cpu.h"
#include "../error.h"
#include "kernels.h"

namespace pl {
namespace {

struct Isa {
  const char* name;
  bool (*here)(const Cpu& cpu);
  const Fill& fill;
};

// What POCKETLLAMA_ISA says; null where it says nothing.
const char* isa_wish() {
  const char* const isa = std::getenv("POCKETLLAMA_ISA");
  return isa != nullptr && *isa != '\0' ? isa : nullptr;
}

constexpr Isa kIsas[] = {
    {"scalar", [](const Cpu&) { return true; }, kFillScalar},
    {"avx2", [](const Cpu& cpu) { return cpu.avx2; }, kFillAvx2},
    {"avx_vnni", [](const Cpu& cpu) { return cpu.avx_vnni; }, kFillAvxVnni},
    {"avx512", [](const Cpu& cpu) { return cpu.avx512; }, kFillAvx512},
    {"avx512_vnni", [](const Cpu& cpu) { return cpu.avx512_vnni; }, kFillAvx512Vnni},
    {"neon", [](const Cpu& cpu) { return cpu.neon; }, kFillNeon},
    {"neon_dotprod", [](const Cpu& cpu) { return cpu.dotprod; }, kFillNeonDotprod},
    {"neon_i8mm", [](const Cpu& cpu) { return cpu.dotprod && cpu.i8mm; }, kFillNeonI8mm},
};

}  // namespace

Kernels make_kernels(const char* isa) {
  const Isa* highest = nullptr;
  std::string known;
  for (const Isa& row : kIsas) {
    if (isa != nullptr && std::strcmp(isa, row.name) == 0) highest = &row;
    known += (known.empty() ? "" : ", ") + std::string(row.name);
  }
  if (isa != nullptr && highest == nullptr) {
    fail(ErrorKind::kUsage, "POCKETLLAMA_ISA: expected one of %s, found %.40s.", known.c_str(), isa);
  }
  Kernels table{};
  for (const Isa& row : kIsas) {
    if (row.fill != nullptr && row.here(cpu())) {
      row.fill(table);
      table.isa = row.name;
    }
    if (&row == highest) break;
  }
  return table;
}

const Kernels& kernels() {
  static const Kernels table = make_kernels(isa_wish());
  return table;
}

bool isa_allowed(const char* isa) {
  const char* const highest = isa_wish();
  for (const Isa& row : kIsas) {
    if (std::strcmp(isa, row.name) == 0) return row.fill != nullptr && row.here(cpu());
    if (highest != nullptr && std::strcmp(highest, row.name) == 0) break;
  }
  return false;
}

const MatType& mat_type(const Kernels& table, Type type) {
  const auto number = static_cast<uint32_t>(type);
  if (number >= kMatTypes || table.mat[number].multiply == nullptr) {
    const TypeInfo* const facts = type_info(number);
    fail(ErrorKind::kUnsupported,
         "A matrix of type %s cannot be multiplied by: the engine has no kernels for it.",
         facts != nullptr ? facts->name : "(unknown)");
  }
  return table.mat[number];
}

}  // namespace pl

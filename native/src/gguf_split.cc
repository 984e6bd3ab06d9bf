// Models in several files: NAME-00001-of-00003.gguf and so on. Each part is a GGUF of its own whose keys
// split.no, split.count and split.tensors.count say where it belongs; the first holds the model's metadata.
#include <utility>

#include "error.h"
#include "gguf.h"

namespace pl {
namespace {

constexpr const char* kCount = "split.count";
constexpr const char* kNumber = "split.no";
constexpr const char* kTensors = "split.tensors.count";

// "-00001-of-00003.gguf" and what stands before it.
struct PartName {
  std::string stem;
  uint64_t number = 0, count = 0;  // number counts from 1
};

std::string part_path(const std::string& stem, uint64_t number, uint64_t count) {
  return text("%s-%05llu-of-%05llu.gguf", stem.c_str(), static_cast<unsigned long long>(number),
              static_cast<unsigned long long>(count));
}

// False where the name is not a part's. Both numbers have five digits, as the programs that split models
// write them.
bool parse_part_name(const std::string& path, PartName* out) {
  constexpr size_t kTail = 20;  // of "-00001-of-00003.gguf"
  if (path.size() <= kTail) return false;
  const std::string tail = path.substr(path.size() - kTail);
  const auto digits = [&](size_t at, uint64_t* n) {
    *n = 0;
    for (size_t i = at; i < at + 5; ++i) {
      if (tail[i] < '0' || tail[i] > '9') return false;
      *n = *n * 10 + static_cast<uint64_t>(tail[i] - '0');
    }
    return true;
  };
  out->stem = path.substr(0, path.size() - kTail);
  return tail[0] == '-' && tail.substr(6, 4) == "-of-" && tail.substr(15) == ".gguf" &&
         digits(1, &out->number) && digits(10, &out->count);
}

void expect(const std::string& path, const char* key, uint64_t expected, uint64_t found) {
  if (expected == found) return;
  fail(ErrorKind::kInvalidModel, "%s: the key '%s': expected %llu, found %llu.", path.c_str(), key,
       static_cast<unsigned long long>(expected), static_cast<unsigned long long>(found));
}

}  // namespace

void Gguf::open_parts(const std::string& path, bool use_mmap) {
  files_.push_back(MappedFile::open(path, use_mmap));
  add_part(files_.back().bytes(), path);
  // Read as if it were all there is, to see whether it is a part.
  finish();
  const uint64_t count = u64(kCount).value_or(0);
  if (count <= 1) return;

  PartName name;
  if (count > 65535) {
    fail(ErrorKind::kInvalidModel, "%s: the key '%s': expected at most 65535, found %llu.", path.c_str(),
         kCount, static_cast<unsigned long long>(count));
  }
  const uint64_t here = require_u64(kNumber, 0, count - 1) + 1;
  if (!parse_part_name(path, &name) || name.number != here || name.count != count) {
    fail(ErrorKind::kInvalidModel,
         "%s is part %llu of %llu: expected a name that ends in '%s', so that the others can be found.",
         path.c_str(), static_cast<unsigned long long>(here), static_cast<unsigned long long>(count),
         part_path("", here, count).c_str());
  }

  // Begin again, with the first part.
  MappedFile opened = std::move(files_.back());
  *this = Gguf();
  path_ = part_path(name.stem, 1, count);
  uint64_t n_tensors = 0;
  for (uint64_t i = 1; i <= count; ++i) {
    const std::string at = part_path(name.stem, i, count);
    if (i == here) {
      files_.push_back(std::move(opened));
    } else {
      try {
        files_.push_back(MappedFile::open(at, use_mmap));
      } catch (const Error& e) {
        if (e.kind != ErrorKind::kIo) throw;
        fail(ErrorKind::kIo, "Part %llu of %llu of the model is missing: %s",
             static_cast<unsigned long long>(i), static_cast<unsigned long long>(count), e.what());
      }
    }
    Gguf part = view(files_.back().bytes(), at);
    expect(at, kNumber, i - 1, part.require_u64(kNumber));
    expect(at, kCount, count, part.require_u64(kCount));
    const uint64_t all = part.require_u64(kTensors);
    if (i == 1) n_tensors = all;
    expect(at, kTensors, n_tensors, all);
    add_part(files_.back().bytes(), at);
  }
  expect(path_, kTensors, n_tensors, tensors_.size());
  finish();
}

}  // namespace pl

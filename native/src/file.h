// A file's bytes in memory, read-only: mapped, or read as a whole into memory of our own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace pl {

// Memory whose start is a multiple of 64 bytes (a cache line, and the widest vector).
struct AlignedDelete {
  void operator()(std::byte* p) const;
};
using AlignedBytes = std::unique_ptr<std::byte[], AlignedDelete>;
AlignedBytes allocate_aligned(size_t n);  // throws std::bad_alloc

class MappedFile {
 public:
  // Fails with kIo where the path is no readable regular file, kOutOfMemory where its bytes find no room.
  // A mapped file that another program cuts short while it is open ends the process when it is read (SIGBUS);
  // without use_mmap it cannot.
  static MappedFile open(const std::string& path, bool use_mmap);

  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  // Starts on a multiple of 64 bytes at least.
  std::span<const std::byte> bytes() const { return {data_, size_}; }
  bool mapped() const { return mapped_; }

  // The pages that lie wholly within `part` need not stay in memory: they are read again if touched again.
  // Only a hint, and nothing for a file that was not mapped.
  void discard(std::span<const std::byte> part) const;

 private:
  void close() noexcept;

  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  bool mapped_ = false;
  AlignedBytes owned_;
};

}  // namespace pl

#include "file.h"

#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <windows.h>
#else
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

#include "error.h"

namespace pl {
namespace {

constexpr std::align_val_t kAlignment{64};

// Memory for a whole file; its size is what the file system says, and not what something in the file claims.
AlignedBytes allocate_for(const std::string& path, size_t size) {
  try {
    return allocate_aligned(size);
  } catch (const std::bad_alloc&) {
    fail(ErrorKind::kOutOfMemory, "%s needs %llu bytes of memory to be read without mmap.", path.c_str(),
         static_cast<unsigned long long>(size));
  }
}

}  // namespace

void AlignedDelete::operator()(std::byte* p) const { ::operator delete[](p, kAlignment); }

AlignedBytes allocate_aligned(size_t n) {
  return AlignedBytes(static_cast<std::byte*>(::operator new[](n == 0 ? 1 : n, kAlignment)));
}

MappedFile::MappedFile(MappedFile&& other) noexcept { *this = std::move(other); }

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  if (this != &other) {
    close();
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
    mapped_ = std::exchange(other.mapped_, false);
    owned_ = std::move(other.owned_);
  }
  return *this;
}

MappedFile::~MappedFile() { close(); }

#if defined(_WIN32)

namespace {

struct Handle {
  HANDLE h;
  ~Handle() {
    if (h != nullptr && h != INVALID_HANDLE_VALUE) CloseHandle(h);
  }
};

[[noreturn]] void fail_io(const std::string& path) {
  const unsigned long code = GetLastError();
  if (code == ERROR_FILE_NOT_FOUND || code == ERROR_PATH_NOT_FOUND) {
    fail(ErrorKind::kIo, "There is no file at %s.", path.c_str());
  }
  fail(ErrorKind::kIo, "%s cannot be read: system error %lu.", path.c_str(), code);
}

std::wstring wide(const std::string& utf8) {
  const int n = MultiByteToWideChar(CP_UTF8, 0, utf8.data(), static_cast<int>(utf8.size()), nullptr, 0);
  std::wstring out(static_cast<size_t>(n > 0 ? n : 0), L'\0');
  if (n > 0) MultiByteToWideChar(CP_UTF8, 0, utf8.data(), static_cast<int>(utf8.size()), out.data(), n);
  return out;
}

}  // namespace

MappedFile MappedFile::open(const std::string& path, bool use_mmap) {
  const Handle file{CreateFileW(wide(path).c_str(), GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_DELETE,
                                nullptr, OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, nullptr)};
  if (file.h == INVALID_HANDLE_VALUE) fail_io(path);
  LARGE_INTEGER size;
  if (GetFileType(file.h) != FILE_TYPE_DISK || GetFileSizeEx(file.h, &size) == 0) {
    fail(ErrorKind::kIo, "%s is not a file.", path.c_str());
  }
  MappedFile out;
  out.size_ = static_cast<size_t>(size.QuadPart);
  if (out.size_ == 0) return out;
  if (use_mmap) {
    const Handle mapping{CreateFileMappingW(file.h, nullptr, PAGE_READONLY, 0, 0, nullptr)};
    if (mapping.h == nullptr) fail_io(path);
    out.data_ = static_cast<const std::byte*>(MapViewOfFile(mapping.h, FILE_MAP_READ, 0, 0, 0));
    if (out.data_ == nullptr) fail_io(path);
    out.mapped_ = true;
    return out;
  }
  out.owned_ = allocate_for(path, out.size_);
  for (size_t done = 0; done < out.size_;) {
    const size_t left = out.size_ - done;
    DWORD got = 0;
    if (ReadFile(file.h, out.owned_.get() + done, static_cast<DWORD>(left < (1u << 30) ? left : 1u << 30),
                 &got, nullptr) == 0) {
      fail_io(path);
    }
    if (got == 0) fail(ErrorKind::kIo, "%s became shorter while it was read.", path.c_str());
    done += got;
  }
  out.data_ = out.owned_.get();
  return out;
}

void MappedFile::discard(std::span<const std::byte>) const {}

void MappedFile::close() noexcept {
  if (mapped_) UnmapViewOfFile(data_);
  data_ = nullptr;
  size_ = 0;
  mapped_ = false;
  owned_.reset();
}

#else

namespace {

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

[[noreturn]] void fail_io(const std::string& path, int error) {
  if (error == ENOENT || error == ENOTDIR) fail(ErrorKind::kIo, "There is no file at %s.", path.c_str());
  fail(ErrorKind::kIo, "%s cannot be read: %s.", path.c_str(), std::strerror(error));
}

void read_all(int fd, std::byte* to, size_t size, const std::string& path) {
  constexpr size_t kMost = size_t{1} << 30;  // some systems refuse to read more than 2 GiB at once
  for (size_t done = 0; done < size;) {
    const ssize_t got = ::read(fd, to + done, size - done < kMost ? size - done : kMost);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_io(path, errno);
    if (got == 0) fail(ErrorKind::kIo, "%s became shorter while it was read.", path.c_str());
    done += static_cast<size_t>(got);
  }
}

}  // namespace

MappedFile MappedFile::open(const std::string& path, bool use_mmap) {
  if (path.find('\0') != std::string::npos) fail(ErrorKind::kIo, "The path %s… holds a NUL.", path.c_str());
  // O_NONBLOCK: opening a FIFO would wait for its writer. It means nothing for regular files.
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.fd < 0) fail_io(path, errno);
  struct stat about {};
  if (fstat(file.fd, &about) != 0) fail_io(path, errno);
  if (!S_ISREG(about.st_mode)) fail(ErrorKind::kIo, "%s is not a file.", path.c_str());
  MappedFile out;
  out.size_ = static_cast<size_t>(about.st_size);
  if (out.size_ == 0) return out;
  if (use_mmap) {
    void* const at = mmap(nullptr, out.size_, PROT_READ, MAP_SHARED, file.fd, 0);
    if (at == MAP_FAILED && errno == ENOMEM) {
      fail(ErrorKind::kOutOfMemory, "%s (%llu bytes) does not fit the address space.", path.c_str(),
           static_cast<unsigned long long>(out.size_));
    }
    if (at == MAP_FAILED) fail_io(path, errno);
    out.data_ = static_cast<const std::byte*>(at);
    out.mapped_ = true;
    return out;
  }
  out.owned_ = allocate_for(path, out.size_);
  read_all(file.fd, out.owned_.get(), out.size_, path);
  out.data_ = out.owned_.get();
  return out;
}

void MappedFile::discard(std::span<const std::byte> part) const {
  if (!mapped_ || part.empty() || part.data() < data_ || part.data() + part.size() > data_ + size_) return;
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t from = (static_cast<size_t>(part.data() - data_) + page - 1) / page * page;
  const size_t to =
      static_cast<size_t>(part.data() - data_ + static_cast<ptrdiff_t>(part.size())) / page * page;
  // madvise, as posix_madvise(DONTNEED) does nothing in glibc. The pages are a file's and clean: they can be
  // read again.
  if (from < to) (void)madvise(const_cast<std::byte*>(data_) + from, to - from, MADV_DONTNEED);
}

void MappedFile::close() noexcept {
  if (mapped_) munmap(const_cast<std::byte*>(data_), size_);
  data_ = nullptr;
  size_ = 0;
  mapped_ = false;
  owned_.reset();
}

#endif

}  // namespace pl

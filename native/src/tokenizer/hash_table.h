// Hash tables for look-ups that loading and encoding make by the million: open addressing, no deletion,
// hashes mixed with a number of this process so that a file cannot choose keys that collide.
#pragma once

#include <bit>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

namespace pl {

inline uint64_t hash_seed() {
  static const uint64_t seed =
      static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count()) *
          0x9E3779B97F4A7C15u ^
      reinterpret_cast<uintptr_t>(&seed);
  return seed;
}

inline uint64_t hash_mix(uint64_t x) {
  x = (x ^ x >> 32) * 0xD6E8FEB86659FD93u;
  x = (x ^ x >> 32) * 0xD6E8FEB86659FD93u;
  return x ^ x >> 32;
}

inline uint64_t hash_text(uint64_t seed, std::string_view text) {
  uint64_t h = seed ^ text.size() * 0x9E3779B97F4A7C15u;
  const char* p = text.data();
  size_t n = text.size();
  for (; n >= 8; n -= 8, p += 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    h = hash_mix(h ^ word) + seed;
  }
  uint64_t rest = 0;
  for (size_t i = 0; i < n; i++) rest |= uint64_t{static_cast<unsigned char>(p[i])} << (8 * i);
  return hash_mix(h ^ rest);
}

// hash → index of an entry that is kept elsewhere: `same(index)` tells whether it is the one looked for.
class HashIndex {
 public:
  static constexpr uint32_t kNone = ~0u;

  void reserve(size_t entries) {
    if (entries * 2 > slots_.size()) rehash(std::bit_ceil(entries * 2 + 16));
  }

  template <typename Same>
  uint32_t find(uint64_t hash, const Same& same) const {
    if (slots_.empty()) return kNone;
    for (size_t i = hash & mask(); slots_[i].index != kNone; i = (i + 1) & mask()) {
      if (slots_[i].tag == static_cast<uint32_t>(hash >> 32) && same(slots_[i].index)) return slots_[i].index;
    }
    return kNone;
  }

  // For an entry that find() does not know.
  void insert(uint64_t hash, uint32_t index) {
    reserve(++size_);
    size_t i = hash & mask();
    while (slots_[i].index != kNone) i = (i + 1) & mask();
    slots_[i] = {static_cast<uint32_t>(hash), static_cast<uint32_t>(hash >> 32), index};
  }

 private:
  struct Slot {
    uint32_t low = 0, tag = 0;  // the hash
    uint32_t index = kNone;
  };

  size_t mask() const { return slots_.size() - 1; }
  void rehash(size_t size) {
    std::vector<Slot> old(size);
    old.swap(slots_);
    for (const Slot& slot : old) {
      if (slot.index == kNone) continue;
      size_t i = slot.low & mask();
      while (slots_[i].index != kNone) i = (i + 1) & mask();
      slots_[i] = slot;
    }
  }

  std::vector<Slot> slots_;  // a power of two, at most 2^32, half of them free
  size_t size_ = 0;
};

}  // namespace pl

// The loop that all byte-pair encodings share: of all neighbours that may merge, the pair of the lowest rank
// does, the leftmost of equal ones, until no pair may.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <vector>

#include "hash_table.h"

namespace pl {

struct Symbol {
  uint32_t begin, length;  // bytes of the text
  int32_t id;              // the token, or −1
};

struct Merged {
  static constexpr uint32_t kNever = ~0u;
  uint32_t rank = kNever;
  int32_t id = -1;
};

class Merger {
 public:
  // Merges `symbols` in place. find(left, right) says what a pair becomes.
  template <typename Find>
  void merge(std::vector<Symbol>& symbols, const Find& find) {
    if (symbols.size() <= kFew) {
      merge_few(symbols, find);
    } else {
      merge_many(symbols, find);
    }
  }

 private:
  // Up to here, looking at every rank again is quicker than a heap.
  static constexpr size_t kFew = 40;

  template <typename Find>
  void merge_few(std::vector<Symbol>& symbols, const Find& find) {
    if (symbols.size() < 2) return;
    pairs_.clear();
    for (size_t i = 0; i + 1 < symbols.size(); i++) pairs_.push_back(find(symbols[i], symbols[i + 1]));
    for (;;) {
      size_t best = 0;
      for (size_t i = 1; i < pairs_.size(); i++) {
        if (pairs_[i].rank < pairs_[best].rank) best = i;
      }
      if (pairs_.empty() || pairs_[best].rank == Merged::kNever) return;
      symbols[best].length += symbols[best + 1].length;
      symbols[best].id = pairs_[best].id;
      symbols.erase(symbols.begin() + static_cast<ptrdiff_t>(best) + 1);
      pairs_.erase(pairs_.begin() + static_cast<ptrdiff_t>(best));
      if (best > 0) pairs_[best - 1] = find(symbols[best - 1], symbols[best]);
      if (best < pairs_.size()) pairs_[best] = find(symbols[best], symbols[best + 1]);
    }
  }

  // A heap of candidates; those that no longer hold are known by their length and skipped. O(n log n).
  template <typename Find>
  void merge_many(std::vector<Symbol>& symbols, const Find& find) {
    const auto count = static_cast<uint32_t>(symbols.size());
    heap_.clear();
    previous_.resize(count);
    next_.resize(count);
    // Adds the pair to the candidates, if it may merge.
    const auto offer = [&](uint32_t left, uint32_t right) {
      const Merged merged = find(symbols[left], symbols[right]);
      if (merged.rank == Merged::kNever) return false;
      heap_.push_back({merged.rank, left, symbols[left].length + symbols[right].length, merged.id});
      return true;
    };
    for (uint32_t i = 0; i < count; i++) {
      previous_[i] = i - 1;  // of the first: kNowhere
      next_[i] = i + 1;
      if (i + 1 < count) offer(i, i + 1);
    }
    std::make_heap(heap_.begin(), heap_.end());
    while (!heap_.empty()) {
      std::pop_heap(heap_.begin(), heap_.end());
      const Candidate now = heap_.back();
      heap_.pop_back();
      const uint32_t left = now.left, right = next_[left];
      // Symbols only grow: a pair of the same total length is the same pair. One that was merged away has
      // length 0.
      if (symbols[left].length == 0 || right == count ||
          symbols[left].length + symbols[right].length != now.length) {
        continue;
      }
      symbols[left].length = now.length;
      symbols[left].id = now.id;
      symbols[right].length = 0;
      const uint32_t before = previous_[left], after = next_[left] = next_[right];
      if (after < count) previous_[after] = left;
      if (after < count && offer(left, after)) std::push_heap(heap_.begin(), heap_.end());
      if (before != kNowhere && offer(before, left)) std::push_heap(heap_.begin(), heap_.end());
    }
    std::erase_if(symbols, [](const Symbol& symbol) { return symbol.length == 0; });
  }

  static constexpr uint32_t kNowhere = ~0u;

  struct Candidate {
    uint32_t rank, left, length;
    int32_t id;
    // The heap's top is its largest: the lowest rank, then the leftmost.
    bool operator<(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : left > other.left;
    }
  };

  std::vector<Merged> pairs_;
  std::vector<Candidate> heap_;
  std::vector<uint32_t> previous_, next_;
};

// What words of a text became, for the next time they come: texts repeat their words. It lives for one text.
class WordCache {
 public:
  // The ids of `word`, or nullptr.
  const std::vector<int32_t>* find(std::string_view word) {
    if (word.size() > kLongest) return nullptr;
    hash_ = hash_text(seed_, word);
    const uint32_t found = index_.find(hash_, [&](uint32_t i) { return entries_[i].word == word; });
    return found == HashIndex::kNone ? nullptr : &entries_[found].ids;
  }
  // After find() returned nullptr for the same word, which must stay where it lies.
  void add(std::string_view word, const int32_t* ids, size_t count) {
    if (word.size() > kLongest || entries_.size() >= kMost) return;
    index_.insert(hash_, static_cast<uint32_t>(entries_.size()));
    entries_.push_back({word, {ids, ids + count}});
  }

 private:
  static constexpr size_t kLongest = 64;            // bytes: longer words hardly come twice
  static constexpr size_t kMost = size_t{1} << 16;  // some 6 MB
  struct Entry {
    std::string_view word;
    std::vector<int32_t> ids;
  };
  std::vector<Entry> entries_;
  HashIndex index_;
  uint64_t seed_ = hash_seed(), hash_ = 0;
};

}  // namespace pl

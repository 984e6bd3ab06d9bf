// Texts with numbers, and which of them a text begins with.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <vector>

namespace pl {

class PrefixTrie {
 public:
  struct Entry {
    std::string_view text;  // not kept
    int32_t value;          // ≥ 0; of equal texts the first entry counts
  };

  PrefixTrie() = default;
  explicit PrefixTrie(std::vector<Entry> entries) {
    std::stable_sort(entries.begin(), entries.end(),
                     [](const Entry& a, const Entry& b) { return a.text < b.text; });
    // Nodes in breadth-first order: each node's edges lie together and in the order of their bytes.
    struct Range {
      size_t first, last, depth;
    };
    std::vector<Range> ranges{{0, entries.size(), 0}};
    for (size_t node = 0; node < ranges.size(); node++) {
      auto [at, last, depth] = ranges[node];
      int32_t value = -1;
      for (; at < last && entries[at].text.size() == depth; at++) {
        if (value < 0) value = entries[at].value;
      }
      nodes_.push_back({static_cast<uint32_t>(edges_.size()), value});
      while (at < last) {
        const char byte = entries[at].text[depth];
        size_t end = at + 1;
        while (end < last && entries[end].text[depth] == byte) end++;
        edges_.push_back(static_cast<unsigned char>(byte));
        ranges.push_back({at, end, depth + 1});
        at = end;
      }
    }
    nodes_.push_back({static_cast<uint32_t>(edges_.size()), -1});
    for (size_t edge = 0; !nodes_.empty() && edge < nodes_[1].first_edge; edge++)
      root_[edges_[edge]] = edge + 1;
  }

  // Calls found(length, value) for every entry that `text` begins with, the shortest first.
  template <typename Found>
  void prefixes(std::string_view text, const Found& found) const {
    if (text.empty()) return;
    size_t node = root_[static_cast<unsigned char>(text[0])];
    for (size_t length = 1; node != 0; length++) {
      if (nodes_[node].value >= 0) found(length, nodes_[node].value);
      if (length == text.size()) return;
      const auto begin = edges_.begin() + nodes_[node].first_edge,
                 end = edges_.begin() + nodes_[node + 1].first_edge;
      const auto byte = static_cast<unsigned char>(text[length]);
      const auto edge = std::lower_bound(begin, end, byte);
      // The i-th edge of all leads to node i + 1.
      node = edge == end || *edge != byte ? 0 : static_cast<size_t>(edge - edges_.begin()) + 1;
    }
  }

  bool begins(char byte) const { return root_[static_cast<unsigned char>(byte)] != 0; }

 private:
  struct TrieNode {
    uint32_t first_edge;
    int32_t value;
  };
  std::vector<TrieNode> nodes_;  // and one past the end
  std::vector<unsigned char> edges_;
  size_t root_[256] = {};
};

}  // namespace pl

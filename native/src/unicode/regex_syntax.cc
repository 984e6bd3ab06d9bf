#include "regex_syntax.h"

#include <utility>

#include "../error.h"

namespace pl::unicode {

namespace {

constexpr unsigned kMaxRepeat = 1000;
constexpr int kMaxDepth = 50;

class Parser {
 public:
  explicit Parser(std::string_view pattern) : pattern_(pattern), text_(decode(pattern)) {}

  Node parse() {
    Node node = alternation(false);
    if (at_ != text_.size()) wrong("an unopened )");
    return node;
  }

 private:
  [[noreturn]] void wrong(const char* what) const {
    fail(ErrorKind::kInternal, "regular expression '%.*s', code point %zu: %s",
         static_cast<int>(pattern_.size()), pattern_.data(), at_, what);
  }

  bool more() const { return at_ < text_.size(); }
  bool next_is(char32_t c) const { return more() && text_[at_] == c; }
  bool take(char32_t c) { return next_is(c) && ++at_; }
  bool take(std::string_view word) {
    if (text_.size() - at_ < word.size()) return false;
    for (size_t i = 0; i < word.size(); i++) {
      if (text_[at_ + i] != static_cast<unsigned char>(word[i])) return false;
    }
    at_ += word.size();
    return true;
  }
  char32_t any() {
    if (!more()) wrong("more was expected");
    return text_[at_++];
  }

  Node alternation(bool any_case) {
    if (++depth_ > kMaxDepth) wrong("too deep");
    Node node{.kind = Node::kAlternation};
    do node.parts.push_back(sequence(any_case));
    while (take('|'));
    depth_--;
    if (node.parts.size() > 1) return node;
    Node only = std::move(node.parts[0]);
    return only;
  }

  Node sequence(bool any_case) {
    Node node;
    while (more() && !next_is('|') && !next_is(')')) node.parts.push_back(repeats(atom(any_case)));
    return node;
  }

  Node repeats(Node node) {
    while (more()) {
      unsigned min = 0, max = Node::kNoLimit;
      bool braces = false;
      if (take('?')) {
        max = 1;
      } else if (take('+')) {
        min = 1;
      } else if (take('{')) {
        braces = true;
        min = max = number();
        if (take(',')) max = next_is('}') ? Node::kNoLimit : number();
        if (!take('}') || max < min) wrong("{m,n} was expected");
      } else if (!take('*')) {
        break;
      }
      const bool possessive = !braces && take('+');
      if (!possessive && next_is('?')) wrong("lazy repetition is not supported");
      if (is_nullable(node)) wrong("a repetition of what can be empty");
      Node repeat{.kind = Node::kRepeat, .min = min, .max = max, .possessive = possessive};
      repeat.parts.push_back(std::move(node));
      node = std::move(repeat);
    }
    return node;
  }

  unsigned number() {
    unsigned value = 0;
    if (!more() || text_[at_] < '0' || text_[at_] > '9') wrong("a number was expected");
    while (more() && text_[at_] >= '0' && text_[at_] <= '9') {
      value = value * 10 + static_cast<unsigned>(text_[at_++] - '0');
      if (value > kMaxRepeat) wrong("too many repetitions");
    }
    return value;
  }

  Node atom(bool any_case) {
    if (take('(')) return group(any_case);
    if (take('^')) return Node{.kind = Node::kLineStart};
    if (take('$')) return Node{.kind = Node::kLineEnd};
    if (take("\\b")) return Node{.kind = Node::kWordBoundary};
    if (take("\\B")) return Node{.kind = Node::kWordBoundary, .negative = true};
    Node node{.kind = Node::kSet};
    if (take('[')) {
      node.set = brackets();
    } else if (take('.')) {
      node.set = CharSet('\n', '\n').complement();
    } else if (next_is('\\')) {
      node.set = escape();
    } else {
      const char32_t c = any();
      if (c == '*' || c == '+' || c == '?' || c == '{') wrong("nothing to repeat");
      node.set = CharSet(c, c);
    }
    if (any_case) node.set.add_other_cases();
    return node;
  }

  Node group(bool any_case) {
    Node node;
    if (take("?=") || take("?!")) {
      node.kind = Node::kLook;
      node.negative = text_[at_ - 1] == '!';
      node.parts.push_back(alternation(any_case));
    } else {
      if (take("?i:")) {
        any_case = true;
      } else if (!take("?:") && next_is('?')) {
        wrong("an unknown kind of group");
      }
      node = alternation(any_case);
    }
    if (!take(')')) wrong("a ) was expected");
    return node;
  }

  // \ and what follows, a set of one code point or more.
  CharSet escape() {
    at_++;
    const char32_t c = any();
    switch (c) {
      case 's': return CharSet::white_space();
      case 'S': return CharSet::white_space().complement();
      case 'd': return CharSet::of_categories(1u << kNd);
      case 'D': return CharSet::of_categories(1u << kNd).complement();
      case 'w': return CharSet::word();
      case 'W': return CharSet::word().complement();
      case 'r': return CharSet('\r', '\r');
      case 'n': return CharSet('\n', '\n');
      case 't': return CharSet('\t', '\t');
      case 'p': return property();
      case 'P': return property().complement();
      case 'x': {
        if (!take('{')) wrong("\\x{…} was expected");
        const char32_t code = hex(6);
        if (!take('}')) wrong("a } was expected");
        return CharSet(code, code);
      }
      case 'u': {
        const char32_t code = hex(4);
        return CharSet(code, code);
      }
      default: break;
    }
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
      wrong("an unknown escape");
    return CharSet(c, c);
  }

  CharSet property() {
    if (!take('{')) wrong("\\p{…} was expected");
    std::string name;
    while (!next_is('}')) append_utf8(name, any());
    at_++;
    CharSet set;
    if (!CharSet::named(name, set)) wrong("an unknown property");
    return set;
  }

  char32_t hex(int most) {
    char32_t value = 0;
    int digits = 0;
    for (; more() && digits < most; digits++) {
      const char32_t c = text_[at_];
      if (c >= '0' && c <= '9') value = value * 16 + (c - '0');
      else if (c >= 'A' && c <= 'F') value = value * 16 + (c - 'A' + 10);
      else if (c >= 'a' && c <= 'f') value = value * 16 + (c - 'a' + 10);
      else break;
      at_++;
    }
    if (digits == 0 || value > kMax) wrong("a code point was expected");
    return value;
  }

  CharSet brackets() {
    if (++depth_ > kMaxDepth) wrong("too deep");
    const bool negative = take('^');
    CharSet set, previous;
    bool intersecting = false;
    const auto close_operand = [&] {
      if (intersecting) set = previous.intersection(set);
    };
    while (!take(']')) {
      if (take("&&")) {
        close_operand();
        previous = std::exchange(set, CharSet());
        intersecting = true;
        continue;
      }
      if (take('[')) {
        set.add(brackets());
        continue;
      }
      const CharSet first = item();
      const bool range = next_is('-') && at_ + 1 < text_.size() && text_[at_ + 1] != ']';
      if (!range) {
        set.add(first);
        continue;
      }
      at_++;
      const CharSet last = item();
      if (!is_one(first) || !is_one(last) || last.ranges()[0].first < first.ranges()[0].first)
        wrong("a bad range");
      set.add(CharSet(first.ranges()[0].first, last.ranges()[0].first));
    }
    close_operand();
    depth_--;
    return negative ? set.complement() : set;
  }

  CharSet item() {
    if (next_is('\\')) return escape();
    const char32_t c = any();
    return CharSet(c, c);
  }

  static bool is_one(const CharSet& set) {
    return set.ranges().size() == 1 && set.ranges()[0].first == set.ranges()[0].last;
  }

  std::string_view pattern_;
  std::vector<char32_t> text_;
  size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace

Node parse_regex(std::string_view pattern) { return Parser(pattern).parse(); }

bool is_nullable(const Node& node) {
  switch (node.kind) {
    case Node::kSet: return false;
    case Node::kRepeat: return node.min == 0;
    case Node::kSequence:
      for (const Node& part : node.parts) {
        if (!is_nullable(part)) return false;
      }
      return true;
    case Node::kAlternation:
      for (const Node& part : node.parts) {
        if (is_nullable(part)) return true;
      }
      return false;
    default: return true;
  }
}

CharSet first_set(const Node& node) {
  CharSet set;
  switch (node.kind) {
    case Node::kSet: return node.set;
    case Node::kRepeat: return first_set(node.parts[0]);
    case Node::kSequence:
      for (const Node& part : node.parts) {
        set.add(first_set(part));
        if (!is_nullable(part)) break;
      }
      return set;
    case Node::kAlternation:
      for (const Node& part : node.parts) set.add(first_set(part));
      return set;
    default: return set;  // consumes nothing
  }
}

}  // namespace pl::unicode

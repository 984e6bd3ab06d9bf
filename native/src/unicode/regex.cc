#include "regex.h"

#include <algorithm>

#include "../error.h"

namespace pl::unicode {

namespace {

constexpr size_t kNone = ~size_t{0};
constexpr size_t kMaxProgram = 20000;
// Steps per code point before failures are remembered: plain patterns take under 10.
constexpr size_t kPatience = 32;
// Steps per code point and instruction at which to give up: with the memory, plain patterns cannot come near.
constexpr size_t kLimit = 16;

}  // namespace

Regex::Regex(std::string_view pattern) {
  const Node root = parse_regex(pattern);
  std::span<const Node> parts(&root, 1);
  if (root.kind == Node::kAlternation && root.parts.size() <= 64) parts = root.parts;
  word_set_ = set_index(CharSet::word());
  for (size_t i = 0; i < parts.size(); i++) {
    const CharSet first = first_set(parts[i]);
    alternatives_.push_back(
        {static_cast<uint32_t>(program_.size()), is_nullable(parts[i]), set_index(first)});
    compile(parts[i]);
    emit({.op = Instruction::kAccept});
    for (char32_t c = 0; c < 128; c++) {
      if (alternatives_.back().nullable || first.contains(c)) ascii_first_[c] |= uint64_t{1} << i;
    }
  }
  make_loops_possessive();
  bitmaps_.reserve(sets_.size());
  for (const CharSet& set : sets_) bitmaps_.emplace_back(set);
  sets_.clear();
}

uint32_t Regex::emit(Instruction instruction) {
  if (program_.size() >= kMaxProgram) fail(ErrorKind::kInternal, "a regular expression is too large");
  program_.push_back(instruction);
  return static_cast<uint32_t>(program_.size() - 1);
}

uint16_t Regex::set_index(const CharSet& set) {
  const auto same = [&](const CharSet& other) {
    return std::equal(set.ranges().begin(), set.ranges().end(), other.ranges().begin(), other.ranges().end(),
                      [](const auto& x, const auto& y) { return x.first == y.first && x.last == y.last; });
  };
  const auto found = std::find_if(sets_.begin(), sets_.end(), same);
  if (found == sets_.end()) {
    sets_.push_back(set);
    return static_cast<uint16_t>(sets_.size() - 1);
  }
  return static_cast<uint16_t>(found - sets_.begin());
}

void Regex::compile(const Node& node) {
  switch (node.kind) {
    case Node::kSet: emit({.op = Instruction::kSet, .set = set_index(node.set)}); break;
    case Node::kSequence:
      for (const Node& part : node.parts) compile(part);
      break;
    case Node::kAlternation: compile_alternation(node.parts); break;
    case Node::kRepeat: compile_repeat(node); break;
    case Node::kLook: {
      const uint32_t look = emit({.op = Instruction::kLook, .negative = node.negative});
      compile(node.parts[0]);
      program_[look].a = emit({.op = Instruction::kAccept}) + 1;
      break;
    }
    case Node::kLineStart: emit({.op = Instruction::kLineStart}); break;
    case Node::kLineEnd: emit({.op = Instruction::kLineEnd}); break;
    case Node::kWordBoundary: emit({.op = Instruction::kBoundary, .negative = node.negative}); break;
  }
}

void Regex::compile_alternation(std::span<const Node> parts) {
  std::vector<uint32_t> jumps;
  for (size_t i = 0; i + 1 < parts.size(); i++) {
    const uint32_t split = emit({.op = Instruction::kSplit, .memo = n_memo_++});
    program_[split].a = split + 1;
    compile(parts[i]);
    jumps.push_back(emit({.op = Instruction::kJump}));
    program_[split].b = static_cast<uint32_t>(program_.size());
  }
  compile(parts.back());
  for (const uint32_t jump : jumps) program_[jump].a = static_cast<uint32_t>(program_.size());
}

void Regex::compile_repeat(const Node& node) {
  const Node& body = node.parts[0];
  if (body.kind == Node::kSet) {
    emit({.op = Instruction::kLoop,
          .possessive = node.possessive,
          .set = set_index(body.set),
          .a = node.min,
          .b = node.max,
          .memo = n_memo_++});
    return;
  }
  uint32_t atomic = 0;
  if (node.possessive) atomic = emit({.op = Instruction::kAtomic});
  for (unsigned i = 0; i < node.min; i++) compile(body);
  if (node.max == Node::kNoLimit) {
    const uint32_t split = emit({.op = Instruction::kSplit, .memo = n_memo_++});
    program_[split].a = split + 1;
    compile(body);
    emit({.op = Instruction::kJump, .a = split});
    program_[split].b = static_cast<uint32_t>(program_.size());
  } else {
    std::vector<uint32_t> splits;
    for (unsigned i = node.min; i < node.max; i++) {
      splits.push_back(emit({.op = Instruction::kSplit, .memo = n_memo_++}));
      program_[splits.back()].a = splits.back() + 1;
      compile(body);
    }
    for (const uint32_t split : splits) program_[split].b = static_cast<uint32_t>(program_.size());
  }
  if (node.possessive) program_[atomic].a = emit({.op = Instruction::kAccept}) + 1;
}

// A loop need not give anything back where nothing it took can be what comes next, or where nothing can fail
// after it.
void Regex::make_loops_possessive() {
  for (size_t i = 0; i < program_.size(); i++) {
    if (program_[i].op != Instruction::kLoop) continue;
    size_t next = i + 1;
    while (program_[next].op == Instruction::kJump) next = program_[next].a;
    const Instruction& after = program_[next];
    const bool consumes = after.op == Instruction::kSet || (after.op == Instruction::kLoop && after.a > 0);
    if (after.op == Instruction::kAccept ||
        (consumes && sets_[program_[i].set].intersection(sets_[after.set]).empty())) {
      program_[i].possessive = true;
    }
  }
}

// One split of one piece of text.
class Regex::Run {
 public:
  Run(const Regex& regex, std::span<const char32_t> text) : regex_(regex), text_(text) {}

  // Where the match that begins at pos ends; kNone where there is none.
  size_t match(size_t pos) {
    const char32_t c = text_[pos];
    const uint64_t possible = c < 128 ? regex_.ascii_first_[c] : ~uint64_t{0};
    for (size_t i = 0; i < regex_.alternatives_.size(); i++) {
      const Alternative& one = regex_.alternatives_[i];
      if ((possible >> i & 1) == 0) continue;
      if (c >= 128 && !one.nullable && !regex_.bitmaps_[one.first].contains(c)) continue;
      const size_t end = run(one.start, pos);
      if (end != kNone) return end;
    }
    return kNone;
  }

 private:
  // Goes on at pc with pos, then pos - 1, … down to lowest.
  struct Choice {
    uint32_t pc;
    size_t pos, lowest;
  };
  // Bits that were set in failed_ while a state was only under way.
  struct Mark {
    size_t bit, count;
  };

  // Runs from pc until kAccept. Failures found on the way hold for every later run: a state's fate depends on
  // its position alone. A run that succeeds takes back its marks, as some of them lie on the way to success.
  size_t run(uint32_t pc, size_t pos) {
    const size_t bottom = stack_.size(), first_mark = marks_.size();
    size_t end = kNone;
    for (bool going = true; going;) {
      if (step(pc, pos, end)) {
        if (end != kNone) break;
        continue;
      }
      going = stack_.size() > bottom;
      if (!going) break;
      Choice& choice = stack_.back();
      pc = choice.pc;
      pos = choice.pos;
      if (choice.pos == choice.lowest) {
        stack_.pop_back();
      } else {
        choice.pos--;
      }
    }
    stack_.resize(bottom);
    if (end != kNone) {
      for (size_t i = first_mark; i < marks_.size(); i++) {
        for (size_t bit = marks_[i].bit; bit < marks_[i].bit + marks_[i].count; bit++) failed_[bit] = false;
      }
    }
    marks_.resize(first_mark);
    return end;
  }

  // One instruction. False: it failed. At kAccept, `end` becomes pos.
  bool step(uint32_t& pc, size_t& pos, size_t& end) {
    const Instruction& now = regex_.program_[pc];
    count(1);
    switch (now.op) {
      case Instruction::kSet:
        if (pos == text_.size() || !regex_.bitmaps_[now.set].contains(text_[pos])) return false;
        pos++;
        pc++;
        return true;
      case Instruction::kLoop: return loop(now, pc, pos);
      case Instruction::kSplit:
        if (!visit(now.memo, pos, 1)) return false;
        stack_.push_back({now.b, pos, pos});
        pc = now.a;
        return true;
      case Instruction::kJump: pc = now.a; return true;
      case Instruction::kLook: {
        const bool found = run(pc + 1, pos) != kNone;
        pc = now.a;
        return found != now.negative;
      }
      case Instruction::kAtomic: {
        const size_t after = run(pc + 1, pos);
        if (after == kNone) return false;
        pc = now.a;
        pos = after;
        return true;
      }
      case Instruction::kLineStart: pc++; return pos == 0 || text_[pos - 1] == '\n';
      case Instruction::kLineEnd: pc++; return pos == text_.size() || text_[pos] == '\n';
      case Instruction::kBoundary: {
        const CharBitmap& word = regex_.bitmaps_[regex_.word_set_];
        const bool before = pos > 0 && word.contains(text_[pos - 1]);
        const bool after = pos < text_.size() && word.contains(text_[pos]);
        pc++;
        return (before != after) != now.negative;
      }
      case Instruction::kAccept: end = pos; return true;
    }
    return false;
  }

  bool loop(const Instruction& now, uint32_t& pc, size_t& pos) {
    const bool endless = now.b == Node::kNoLimit;
    const CharBitmap& set = regex_.bitmaps_[now.set];
    const size_t most = endless ? text_.size() : pos + std::min<size_t>(now.b, text_.size() - pos);
    const size_t lowest = pos + now.a;
    size_t last = pos;
    if (endless && !failed_.empty()) {
      // Where the loop failed from q on, its ends from q + min on have had their turn.
      if (is_failed(now.memo, pos)) return false;
      while (last < most && set.contains(text_[last]) && (last == pos || !is_failed(now.memo, last))) last++;
      count(last - pos);
      if (last > pos && is_failed(now.memo, last)) {
        visit(now.memo, pos, last - pos);
        if (now.possessive) return false;
        last = last + now.a - 1;
      } else {
        if (last < lowest) return false;
        visit(now.memo, pos, last - lowest + 1);
      }
    } else {
      while (last < most && set.contains(text_[last])) last++;
      count(last - pos);
      if (last < lowest) return false;
    }
    if (!now.possessive && last > lowest) stack_.push_back({pc + 1, last - 1, lowest});
    pos = last;
    pc++;
    return true;
  }

  void count(size_t steps) {
    steps_ += steps;
    if (steps_ <= limit_) return;
    if (failed_.empty()) {
      failed_.assign(regex_.n_memo_ * (text_.size() + 1), false);
      limit_ = kLimit * regex_.program_.size() * (text_.size() + 100);
    } else {
      fail(ErrorKind::kUnsupported, "splitting a text of %zu characters takes too many steps", text_.size());
    }
  }

  bool is_failed(uint32_t memo, size_t pos) const {
    return !failed_.empty() && failed_[memo * (text_.size() + 1) + pos];
  }

  // Notes that a state is tried at `positions` positions. False where it was before.
  bool visit(uint32_t memo, size_t pos, size_t positions) {
    if (failed_.empty()) return true;
    const size_t bit = memo * (text_.size() + 1) + pos;
    if (failed_[bit]) return false;
    // Those that failed before stay marked when this mark is taken back: only the new ones are noted.
    size_t fresh = 0;
    while (fresh < positions && !failed_[bit + fresh]) failed_[bit + fresh++] = true;
    marks_.push_back({bit, fresh});
    return true;
  }

  const Regex& regex_;
  std::span<const char32_t> text_;
  std::vector<Choice> stack_;
  std::vector<Mark> marks_;
  std::vector<bool> failed_;
  size_t steps_ = 0, limit_ = kPatience * (text_.size() + 100);
};

void Regex::split(std::span<const char32_t> text, size_t begin, size_t end, std::vector<size_t>& ends) const {
  const std::span<const char32_t> piece = text.subspan(begin, end - begin);
  Run run(*this, piece);
  size_t unmatched = 0;  // where the text that no match has taken begins
  for (size_t pos = 0; pos < piece.size();) {
    const size_t after = run.match(pos);
    if (after == kNone || after == pos) {
      pos++;
      continue;
    }
    if (pos > unmatched) ends.push_back(begin + pos);
    ends.push_back(begin + after);
    unmatched = pos = after;
  }
  if (unmatched < piece.size()) ends.push_back(end);
}

}  // namespace pl::unicode

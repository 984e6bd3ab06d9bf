// Finds what a few neighbouring weights share: the scale, and the offset where the format has one, under which their
// rounded values come closest to them, in the sum of weighted squares. Each lane is a group of its own.
//
// For given quants q the best scale and offset are a least-squares solution; for given scale and offset the best quants are
// the nearest ones. Which of the many pairs that agree with each other is the best one depends on where one begins, so
// several beginnings are tried, and the best of them goes on to and fro for a few rounds.
#pragma once

#include "lanes.h"
#include "unpack.h"

namespace pl {
namespace {

// x ≈ scale * q + low
struct Affine {
  Floats scale, low, gain;  // gain: how much of Σ w x² is explained
};

struct AffineSums {
  Floats q{}, qq{}, xq{};
  void add(Floats value, Floats x, Floats w) {
    const Floats wq = w * value;
    q += wq, qq += wq * value, xq += wq * x;
  }
};

// The best scale and offset for these sums; `any_low`: the offset may be above 0.
template <bool any_low>
inline Affine solve(const AffineSums& s, Floats sum_w, Floats sum_x) {
  Floats scale = ratio(sum_w * s.xq - sum_x * s.q, sum_w * s.qq - s.q * s.q);
  Floats low = ratio(sum_x - scale * s.q, sum_w);
  if (!any_low) {
    const Ints above = low > 0.0f;
    scale = select(above, ratio(s.xq, s.qq), scale), low = select(above, Floats{}, low);
  }
  return {scale, low, scale * s.xq + low * sum_x};
}

inline void keep_better(Affine& best, const Affine& other) {
  const Ints better = other.gain > best.gain;
  best.scale = select(better, other.scale, best.scale), best.low = select(better, other.low, best.low);
  best.gain = select(better, other.gain, best.gain);
}

// How far apart the beginnings lie, in quants at the range's end, and how often it goes to and fro. Ranges are not symmetric:
// `other_tries` begin with the largest weight at the end that lies nearer to 0.
struct Search {
  float from, step;
  int tries, rounds, other_tries;
};

// n weights x with their importance w; q runs from 0 to `most`.
template <bool any_low>
inline Affine fit_affine(const Floats* x, const Floats* w, int n, float most, const Search& search) {
  Floats low = any_low ? x[0] : Floats{}, high = x[0], sum_w{}, sum_x{};
  for (int i = 0; i < n; ++i) {
    low = smaller(low, x[i]), high = larger(high, x[i]);
    sum_w += w[i], sum_x += w[i] * x[i];
  }
  Affine best{Floats{}, low, splat(-1.0f)};
  for (int t = 0; t < search.tries; ++t) {
    const Floats inverse = ratio(splat(most + search.from + search.step * static_cast<float>(t)), high - low);
    AffineSums sums;
    for (int i = 0; i < n; ++i) sums.add(between(nearest((x[i] - low) * inverse), 0.0f, most), x[i], w[i]);
    keep_better(best, solve<any_low>(sums, sum_w, sum_x));
  }
  for (int round = 0; round < search.rounds; ++round) {
    const Floats inverse = ratio(splat(1.0f), best.scale);
    AffineSums sums;
    for (int i = 0; i < n; ++i) sums.add(between(nearest((x[i] - best.low) * inverse), 0.0f, most), x[i], w[i]);
    keep_better(best, solve<any_low>(sums, sum_w, sum_x));
  }
  return best;
}

// The element of the largest magnitude, with its sign; the first of equals.
inline Floats largest(const Floats* x, int n) {
  Floats best = x[0];
  for (int i = 1; i < n; ++i) best = select(magnitude(x[i]) > magnitude(best), x[i], best);
  return best;
}

// What quants stand for, as a function from x / scale to the nearest of them: whole numbers of a range, or a codebook. The
// least lies farther from 0 than the most.
struct Whole {
  float least, most;
  Floats operator()(Floats x) const { return between(nearest(x), least, most); }
};
struct Codebook {
  static constexpr float least = kIQ4Values[0], most = kIQ4Values[15];
  // The next one for each middle between neighbours that x is above.
  Floats operator()(Floats x) const {
    Floats value = splat(kIQ4Values[0]);
    for (int k = 0; k < 15; ++k) {
      const float middle = 0.5f * static_cast<float>(kIQ4Values[k] + kIQ4Values[k + 1]);
      value = select(x > middle, splat(kIQ4Values[k + 1]), value);
    }
    return value;
  }
};

// The scale of x ≈ scale * value. The beginnings put the largest x near one end of the values, or the other.
template <typename Values>
inline Floats fit_scale(const Floats* x, const Floats* w, int n, const Values& values, const Search& search) {
  const Floats one_over = ratio(splat(1.0f), largest(x, n));
  Floats best{}, best_gain = splat(-1.0f);
  const auto attempt = [&](Floats inverse) {
    Floats xq{}, qq{};
    for (int i = 0; i < n; ++i) {
      const Floats q = values(x[i] * inverse), wq = w[i] * q;
      xq += wq * x[i], qq += wq * q;
    }
    const Floats scale = ratio(xq, qq), gain = scale * xq;
    const Ints better = gain > best_gain;
    best = select(better, scale, best), best_gain = select(better, gain, best_gain);
  };
  const auto off = [&search](int t) { return search.from + search.step * static_cast<float>(t); };
  for (int t = 0; t < search.tries; ++t) attempt((values.least + off(t)) * one_over);
  for (int t = 0; t < search.other_tries; ++t) attempt((values.most + off(t)) * one_over);
  for (int round = 0; round < search.rounds; ++round) attempt(ratio(splat(1.0f), best));
  return best;
}

}  // namespace
}  // namespace pl

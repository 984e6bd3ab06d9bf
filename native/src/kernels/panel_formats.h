// How the rows of each quantized type become panels. A panel is V::kRows rows of a matrix side by side: lane r of every
// vector belongs to row r, so that a product needs no sums across lanes and each row's scale stands in its lane. Files hold
// rows one after the other; 16 bytes of each row are loaded and transposed as four columns of 32 bits, which a file's
// fields are then cut out of. Nothing is copied or repacked beforehand: a matrix stays where it lies in the mapped file.
//
// A format F<V> has, for steps of kGroups times 32 weights:
//   kBytes       bytes of a row's step
//   kZero        what q is too high by; kMax: the highest q, or kSigned: q is -127..127 (kZero is 0)
//   kFew         for 1, 2, 4 … up to so many tokens, weights go from the file into the sums without a stop in memory: where V::few
//                agrees
//   kHalves      16 weights to a scale, not 32;  kMins: there are minima, x = scale * q - min
//   kWhole       scales are whole numbers times one that both halves have: set_scale()
//   unpack(rows, stride, use)   calls use(g, quads) for the groups g of 32 weights, in their order
// Four groups are written out and blocks of 256 are two turns of a loop: compilers take long enough as it is.
//
// In a nameless namespace, compiled anew with each ISA's flags; V is a vector of that ISA (see avx512.cc).
#pragma once

#include "../quant/unpack.h"
#include "inlining.h"

namespace pl {
namespace {

// One group of 32 weights of each row of a panel: weights 4j..4j+3 are the bytes of q[j].
template <class V>
struct Quads {
  typename V::I q[8];
  typename V::F scale[2], min[2];  // [1] only with kHalves
  typename V::I whole[2];          // kWhole, and no VNNI: these, each twice in 16 bits, times scale[0]
};

// Columns of 32 bits, loaded four at a time when they are first asked for: dword i holds bytes 4i..4i+3 of each row.
template <class V, int kBytes>
struct Columns {
  static_assert(kBytes % 16 == 0 || kBytes % 4 == 0);
  static constexpr int kLast = (kBytes - 16) / 4;  // where the last load begins: no byte behind kBytes is touched

  const uint8_t* rows;
  int64_t stride;
  typename V::I dwords[(kBytes + 15) / 16 * 4];

  // Makes dwords [4 * kLoad, 4 * kLoad + 4) valid.
  template <int kLoad>
  PL_INLINE void load() {
    if constexpr (4 * kLoad <= kLast) {
      V::load_columns(rows + 16 * kLoad, stride, dwords + 4 * kLoad);
    } else {
      typename V::I four[4];
      V::load_columns(rows + 4 * kLast, stride, four);
      unroll<4 * kLoad, kBytes / 4>([&](auto i) PL_LAMBDA { dwords[i.value] = four[i.value - kLast]; });
    }
  }
  // Makes dwords [0, kTo) valid, given that [0, kFrom) are.
  template <int kFrom, int kTo>
  PL_INLINE void load_to() {
    unroll<(kFrom + 3) / 4, (kTo + 3) / 4>([&](auto i) PL_LAMBDA { this->template load<i.value>(); });
  }
  // The 32 bits from byte kByte on.
  template <int kByte>
  PL_INLINE typename V::I at() const {
    if constexpr (kByte % 4 == 0) {
      return dwords[kByte / 4];
    } else {
      return V::template funnel<kByte % 4 * 8>(dwords[kByte / 4], dwords[kByte / 4 + 1]);
    }
  }
  template <int kByte>
  PL_INLINE typename V::F half() const {
    static_assert(kByte % 2 == 0);
    if constexpr (kByte % 4 == 0) return V::low_half(dwords[kByte / 4]);
    else return V::high_half(dwords[kByte / 4]);
  }
};

// (x >> kShift) & mask in every byte, for masks that keep what the shift brings in from the byte above out.
template <class V, int kShift>
PL_INLINE typename V::I field(typename V::I x, int mask) {
  if constexpr (kShift == 0) return V::bit_and(x, V::bytes(mask));
  else if constexpr (kShift > 0) return V::bit_and(V::template shift_right<kShift>(x), V::bytes(mask));
  else return V::bit_and(V::template shift_left<-kShift>(x), V::bytes(mask));
}

// Byte kByte of each lane as a number, signed or not.
template <class V, int kByte>
PL_INLINE typename V::F byte_to_float(typename V::I x) {
  return V::to_float(V::bit_and(V::template shift_right<8 * kByte>(x), V::ints(255)));
}
template <class V, int kByte>
PL_INLINE typename V::F signed_byte_to_float(typename V::I x) {
  return V::to_float(V::template shift_right_signed<24>(V::template shift_left<24 - 8 * kByte>(x)));
}

// The scale of half h: d times byte kByte of each lane, signed.
template <class V, int h, int kByte>
PL_INLINE void set_scale(typename V::F d, typename V::I bytes, Quads<V>& out) {
  if constexpr (V::kDot) out.scale[h] = V::multiply(d, signed_byte_to_float<V, kByte>(bytes));
  else out.scale[0] = d, out.whole[h] = V::template twice16<kByte>(bytes);
}

// ---- blocks of 32, four to a step. Low nibbles of 16 bytes come first, then the high ones.

// Bits 4j..4j+3 of each lane to bit 4 of its bytes.
template <class V, int kQuad>
PL_INLINE typename V::I fifth_bits(typename V::I bits) {
  const typename V::I four = V::bit_and(V::template shift_right<4 * kQuad>(bits), V::ints(15));
  return V::bit_and(V::multiply(four, V::ints(0x02040810)), V::bytes(16));
}

// What differs between the blocks of 32, by where their fields lie.
template <class V, class Layout>
struct Blocks32 : Layout {
  static constexpr int kGroups = 4, kBlockBytes = Layout::kSize, kBytes = kGroups * kBlockBytes;
  static constexpr bool kHalves = false, kWhole = false;

  template <class Use>
  static PL_INLINE void unpack(const uint8_t* rows, int64_t stride, Use use) {
    Columns<V, kBytes> c;
    c.rows = rows, c.stride = stride;
    unroll<0, kGroups>([&](auto g) PL_LAMBDA {
      constexpr int kAt = g.value * kBlockBytes;
      // Dwords up to the one that holds the block's last byte.
      c.template load_to<(kAt + 3) / 4, (kAt + kBlockBytes + 3) / 4>();
      Quads<V> out;
      Layout::template scales<V, kAt>(c, out);
      unroll<0, 8>([&](auto j) PL_LAMBDA { out.q[j.value] = Layout::template quad<V, kAt, j.value>(c); });
      use(g.value, out);
    });
  }
};

// Weights 4j..4j+3 of 32 nibbles that begin at byte kAt.
template <class V, int kAt, int j, class C>
PL_INLINE typename V::I nibbles(const C& c) {
  if constexpr (j < 4) return field<V, 0>(c.template at<kAt + 4 * j>(), 15);
  else return field<V, 4>(c.template at<kAt + 4 * (j - 4)>(), 15);
}

struct LayoutQ4_0 {
  static constexpr int kSize = 18, kZero = 8, kMax = 15;
  static constexpr int kFew = 8;
  static constexpr bool kSigned = false, kMins = false;
  template <class V, int kAt, class C>
  static PL_INLINE void scales(const C& c, Quads<V>& out) { out.scale[0] = c.template half<kAt>(); }
  template <class V, int kAt, int j, class C>
  static PL_INLINE typename V::I quad(const C& c) { return nibbles<V, kAt + 2, j>(c); }
};

struct LayoutQ4_1 {
  static constexpr int kSize = 20, kZero = 0, kMax = 15;
  static constexpr int kFew = 2;
  static constexpr bool kSigned = false, kMins = true;
  template <class V, int kAt, class C>
  static PL_INLINE void scales(const C& c, Quads<V>& out) {
    out.scale[0] = c.template half<kAt>();
    out.min[0] = V::negate(c.template half<kAt + 2>());
  }
  template <class V, int kAt, int j, class C>
  static PL_INLINE typename V::I quad(const C& c) { return nibbles<V, kAt + 4, j>(c); }
};

struct LayoutQ5_0 {
  static constexpr int kSize = 22, kZero = 16, kMax = 31;
  static constexpr int kFew = 2;
  static constexpr bool kSigned = false, kMins = false;
  template <class V, int kAt, class C>
  static PL_INLINE void scales(const C& c, Quads<V>& out) { out.scale[0] = c.template half<kAt>(); }
  template <class V, int kAt, int j, class C>
  static PL_INLINE typename V::I quad(const C& c) {
    return V::bit_or(nibbles<V, kAt + 6, j>(c), fifth_bits<V, j>(c.template at<kAt + 2>()));
  }
};

struct LayoutQ5_1 {
  static constexpr int kSize = 24, kZero = 0, kMax = 31;
  static constexpr int kFew = 2;
  static constexpr bool kSigned = false, kMins = true;
  template <class V, int kAt, class C>
  static PL_INLINE void scales(const C& c, Quads<V>& out) { LayoutQ4_1::scales<V, kAt>(c, out); }
  template <class V, int kAt, int j, class C>
  static PL_INLINE typename V::I quad(const C& c) {
    return V::bit_or(nibbles<V, kAt + 8, j>(c), fifth_bits<V, j>(c.template at<kAt + 4>()));
  }
};

struct LayoutQ8_0 {
  static constexpr int kSize = 34, kZero = 0, kMax = 127;
  static constexpr int kFew = 8;
  static constexpr bool kSigned = true, kMins = false;
  template <class V, int kAt, class C>
  static PL_INLINE void scales(const C& c, Quads<V>& out) { out.scale[0] = c.template half<kAt>(); }
  template <class V, int kAt, int j, class C>
  static PL_INLINE typename V::I quad(const C& c) { return c.template at<kAt + 2 + 4 * j>(); }
};

struct LayoutIQ4_NL {
  static constexpr int kSize = 18, kZero = 0, kMax = 127;
  static constexpr int kFew = 2;
  static constexpr bool kSigned = true, kMins = false;
  template <class V, int kAt, class C>
  static PL_INLINE void scales(const C& c, Quads<V>& out) { out.scale[0] = c.template half<kAt>(); }
  template <class V, int kAt, int j, class C>
  static PL_INLINE typename V::I quad(const C& c) { return V::look_up(kIQ4Values, nibbles<V, kAt + 2, j>(c)); }
};

// Doubled values of FP4, plus 12.
constexpr int8_t kFP4Raised[16] = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};

struct LayoutMXFP4 {
  static constexpr int kSize = 17, kZero = 12, kMax = 24;
  static constexpr int kFew = 2;
  static constexpr bool kSigned = false, kMins = false;
  template <class V, int kAt, class C>
  static PL_INLINE void scales(const C& c, Quads<V>& out) {
    // The exponent less one goes where a float has it; 0 and 1 would be denormal, see e8m0_half().
    const typename V::I e = V::bit_and(V::template shift_right<kAt % 4 * 8>(c.dwords[kAt / 4]), V::ints(255));
    const typename V::I usual = V::template shift_left<23>(V::subtract(e, V::ints(1)));
    const typename V::I small = V::template shift_left<21>(V::add(e, V::ints(1)));
    out.scale[0] = V::as_float(V::select_less(e, V::ints(2), small, usual));
  }
  template <class V, int kAt, int j, class C>
  static PL_INLINE typename V::I quad(const C& c) { return V::look_up(kFP4Raised, nibbles<V, kAt + 1, j>(c)); }
};

// ---- blocks of 256, one to a step; their fields are described in unpack.h

template <class V>
struct FormatQ4_K {
  static constexpr int kGroups = 8, kBytes = 144, kZero = 0, kMax = 15;
  static constexpr int kFew = 8;
  static constexpr bool kSigned = false, kHalves = false, kMins = true, kWhole = false;

  // Scales and minima of 6 bits out of the header's 16 bytes.
  struct Header {
    typename V::F d, dmin;
    typename V::I scale[2], min[2];  // byte g % 4 of [g / 4]
  };
  static PL_INLINE Header header(const uint8_t* rows, int64_t stride) {
    typename V::I h[4];
    V::load_columns(rows, stride, h);
    const auto joined = [](typename V::I low, typename V::I top) PL_LAMBDA {
      return V::bit_or(low, field<V, 2>(top, 0x30));
    };
    return {V::low_half(h[0]), V::high_half(h[0]),
            {field<V, 0>(h[1], 63), joined(field<V, 0>(h[3], 15), h[1])},
            {field<V, 0>(h[2], 63), joined(field<V, 4>(h[3], 15), h[2])}};
  }
  // Those of group 4 * half + kPart.
  template <int kPart>
  static PL_INLINE void scales(const Header& h, int half, Quads<V>& out) {
    out.scale[0] = V::multiply(h.d, byte_to_float<V, kPart>(h.scale[half]));
    out.min[0] = V::multiply(h.dmin, byte_to_float<V, kPart>(h.min[half]));
  }

  template <class Use>
  static PL_INLINE void unpack(const uint8_t* rows, int64_t stride, Use use) {
    const Header h = header(rows, stride);
    const uint8_t* qs = rows + 16;
    for (int half = 0; half < 2; ++half, qs += 64) {
      unroll<0, 2>([&](auto pair) PL_LAMBDA {
        typename V::I packed[8];
        V::load_columns(qs + 32 * pair.value, stride, packed);
        V::load_columns(qs + 32 * pair.value + 16, stride, packed + 4);
        unroll<0, 2>([&](auto odd) PL_LAMBDA {
          constexpr int kPart = 2 * pair.value + odd.value;
          Quads<V> out;
          scales<kPart>(h, half, out);
          PL_UNROLL for (int j = 0; j < 8; ++j) out.q[j] = field<V, 4 * odd.value>(packed[j], 15);
          use(4 * half + kPart, out);
        });
      });
    }
  }
};

template <class V>
struct FormatQ5_K {
  static constexpr int kGroups = 8, kBytes = 176, kZero = 0, kMax = 31;
  static constexpr int kFew = 2;
  static constexpr bool kSigned = false, kHalves = false, kMins = true, kWhole = false;

  template <class Use>
  static PL_INLINE void unpack(const uint8_t* rows, int64_t stride, Use use) {
    const auto h = FormatQ4_K<V>::header(rows, stride);
    typename V::I high[8];
    V::load_columns(rows + 16, stride, high);
    V::load_columns(rows + 32, stride, high + 4);
    const uint8_t* qs = rows + 48;
    for (int half = 0; half < 2; ++half, qs += 64) {
      unroll<0, 2>([&](auto pair) PL_LAMBDA {
        typename V::I packed[8];
        V::load_columns(qs + 32 * pair.value, stride, packed);
        V::load_columns(qs + 32 * pair.value + 16, stride, packed + 4);
        unroll<0, 2>([&](auto odd) PL_LAMBDA {
          constexpr int kPart = 2 * pair.value + odd.value;
          Quads<V> out;
          FormatQ4_K<V>::template scales<kPart>(h, half, out);
          PL_UNROLL for (int j = 0; j < 8; ++j) {
            out.q[j] = V::bit_or(field<V, 4 * odd.value>(packed[j], 15), field<V, kPart - 4>(high[j], 16));
          }
          use(4 * half + kPart, out);
        });
      });
      PL_UNROLL for (int j = 0; j < 8; ++j) high[j] = V::template shift_right<4>(high[j]);
    }
  }
};

template <class V>
struct FormatQ6_K {
  static constexpr int kGroups = 8, kBytes = 210, kZero = 32, kMax = 63;
  static constexpr int kFew = 8;
  static constexpr bool kSigned = false, kHalves = true, kMins = false, kWhole = true;

  template <class Use>
  static PL_INLINE void unpack(const uint8_t* rows, int64_t stride, Use use) {
    typename V::I scale[4], last[4];
    V::load_columns(rows + 192, stride, scale);
    V::load_columns(rows + 194, stride, last);
    const typename V::F d = V::high_half(last[3]);
    for (int half = 0; half < 2; ++half) {
      typename V::I low[16], high[8];
      PL_UNROLL for (int i = 0; i < 4; ++i) V::load_columns(rows + 64 * half + 16 * i, stride, low + 4 * i);
      PL_UNROLL for (int i = 0; i < 2; ++i) V::load_columns(rows + 128 + 32 * half + 16 * i, stride, high + 4 * i);
      unroll<0, 4>([&](auto part) PL_LAMBDA {
        Quads<V> out;
        PL_UNROLL for (int j = 0; j < 8; ++j) {
          out.q[j] = V::bit_or(field<V, part.value / 2 * 4>(low[part.value % 2 * 8 + j], 15),
                               field<V, 2 * part.value - 4>(high[j], 0x30));
        }
        set_scale<V, 0, part.value % 2 * 2>(d, scale[2 * half + part.value / 2], out);
        set_scale<V, 1, part.value % 2 * 2 + 1>(d, scale[2 * half + part.value / 2], out);
        use(4 * half + part.value, out);
      });
    }
  }
};

template <class V>
struct FormatQ2_K {
  static constexpr int kGroups = 8, kBytes = 84, kZero = 0, kMax = 3;
  static constexpr int kFew = 2;
  static constexpr bool kSigned = false, kHalves = true, kMins = true, kWhole = false;

  template <class Use>
  static PL_INLINE void unpack(const uint8_t* rows, int64_t stride, Use use) {
    typename V::I both[4], last[4];
    V::load_columns(rows, stride, both);
    V::load_columns(rows + 68, stride, last);
    const typename V::F d = V::low_half(last[3]), dmin = V::high_half(last[3]);
    for (int half = 0; half < 2; ++half) {
      typename V::I packed[8];
      V::load_columns(rows + 16 + 32 * half, stride, packed);
      V::load_columns(rows + 32 + 32 * half, stride, packed + 4);
      unroll<0, 4>([&](auto part) PL_LAMBDA {
        const typename V::I scales = both[2 * half + part.value / 2];
        Quads<V> out;
        PL_UNROLL for (int j = 0; j < 8; ++j) out.q[j] = field<V, 2 * part.value>(packed[j], 3);
        const typename V::I low = field<V, 0>(scales, 15), high = field<V, 4>(scales, 15);
        unroll<0, 2>([&](auto h) PL_LAMBDA {
          out.scale[h.value] = V::multiply(d, byte_to_float<V, part.value % 2 * 2 + h.value>(low));
          out.min[h.value] = V::multiply(dmin, byte_to_float<V, part.value % 2 * 2 + h.value>(high));
        });
        use(4 * half + part.value, out);
      });
    }
  }
};

template <class V>
struct FormatQ3_K {
  static constexpr int kGroups = 8, kBytes = 110, kZero = 4, kMax = 7;
  static constexpr int kFew = 2;
  static constexpr bool kSigned = false, kHalves = true, kMins = false, kWhole = true;

  template <class Use>
  static PL_INLINE void unpack(const uint8_t* rows, int64_t stride, Use use) {
    typename V::I high[8], packs[4], last[4];
    V::load_columns(rows, stride, high);
    V::load_columns(rows + 16, stride, high + 4);
    V::load_columns(rows + 92, stride, packs);
    V::load_columns(rows + 94, stride, last);
    const typename V::F d = V::high_half(last[3]);
    typename V::I scale[4];  // byte s % 4 of [s / 4], signed
    unroll<0, 4>([&](auto i) PL_LAMBDA {
      const typename V::I top = field<V, 2 * i.value - 4>(packs[3], 0x30);
      const typename V::I six_bits = V::bit_or(field<V, i.value / 2 * 4>(packs[1 + i.value % 2], 15), top);
      // Less 32, with 128 added meanwhile so that no byte borrows from the next.
      scale[i.value] = V::bit_xor(V::add(six_bits, V::bytes(96)), V::bytes(-128));
    });
    for (int half = 0; half < 2; ++half) {
      typename V::I packed[8];
      V::load_columns(rows + 32 + 32 * half, stride, packed);
      V::load_columns(rows + 48 + 32 * half, stride, packed + 4);
      unroll<0, 4>([&](auto part) PL_LAMBDA {
        Quads<V> out;
        PL_UNROLL for (int j = 0; j < 8; ++j) {
          out.q[j] = V::bit_or(field<V, 2 * part.value>(packed[j], 3), field<V, part.value - 2>(high[j], 4));
        }
        set_scale<V, 0, part.value % 2 * 2>(d, scale[2 * half + part.value / 2], out);
        set_scale<V, 1, part.value % 2 * 2 + 1>(d, scale[2 * half + part.value / 2], out);
        use(4 * half + part.value, out);
      });
      PL_UNROLL for (int j = 0; j < 8; ++j) high[j] = V::template shift_right<4>(high[j]);
    }
  }
};

template <class V>
struct FormatIQ4_XS {
  static constexpr int kGroups = 8, kBytes = 136, kZero = 0, kMax = 127;
  static constexpr int kFew = 2;
  static constexpr bool kSigned = true, kHalves = false, kMins = false, kWhole = false;

  template <class Use>
  static PL_INLINE void unpack(const uint8_t* rows, int64_t stride, Use use) {
    typename V::I h[4];
    V::load_columns(rows, stride, h);
    const typename V::F d = V::low_half(h[0]);
    const uint8_t* qs = rows + 8;
    for (int half = 0; half < 2; ++half, qs += 64) {
      unroll<0, 4>([&](auto part) PL_LAMBDA {
        typename V::I packed[4];
        V::load_columns(qs + 16 * part.value, stride, packed);
        Quads<V> out;
        PL_UNROLL for (int j = 0; j < 4; ++j) {
          out.q[j] = V::look_up(kIQ4Values, field<V, 0>(packed[j], 15));
          out.q[j + 4] = V::look_up(kIQ4Values, field<V, 4>(packed[j], 15));
        }
        const typename V::I low = V::bit_and(V::template shift_right<4 * part.value>(h[1]), V::ints(15));
        const typename V::I high = V::bit_and(V::template shift_right<16 + 2 * part.value>(h[0]), V::ints(3));
        const typename V::I six = V::bit_or(low, V::template shift_left<4>(high));
        out.scale[0] = V::multiply(d, V::to_float(V::subtract(six, V::ints(32))));
        use(4 * half + part.value, out);
      });
      h[0] = V::template shift_right<8>(h[0]);  // two bits a group
      h[1] = V::template shift_right<16>(h[1]);  // four
    }
  }
};

// ---- codebooks: read row by row by the common code of unpack.h, and put in place byte by byte

template <class V, class Block>
struct FormatGrid {
  static constexpr int kGroups = 8, kBytes = sizeof(Block), kZero = 0, kMax = 127;
  static constexpr int kFew = 0;
  static constexpr bool kSigned = true, kHalves = true, kMins = false, kWhole = false;

  template <class Use>
  static PL_INLINE void unpack(const uint8_t* rows, int64_t stride, Use use) {
    for (int g = 0; g < kGroups; ++g) use(g, group(rows, stride, g));
  }
  static __attribute__((noinline)) Quads<V> group(const uint8_t* rows, int64_t stride, int g) {
    alignas(64) int8_t q[8][V::kRows][4];
    alignas(64) float scale[2][V::kRows];
    for (int r = 0; r < V::kRows; ++r) {
      Group one;
      pl::unpack(*reinterpret_cast<const Block*>(rows + r * stride), g, one);
      PL_UNROLL for (int j = 0; j < 8; ++j) __builtin_memcpy(q[j][r], one.q + 4 * j, 4);
      scale[0][r] = one.scale[0], scale[1][r] = one.scale[1];
    }
    Quads<V> out;
    PL_UNROLL for (int j = 0; j < 8; ++j) out.q[j] = V::load_ints(q[j]);
    PL_UNROLL for (int h = 0; h < 2; ++h) out.scale[h] = V::load_floats(scale[h]);
    return out;
  }
};

}  // namespace
}  // namespace pl

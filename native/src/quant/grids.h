// The codebooks of the IQ1, IQ2 and IQ3 types: an index in a block stands for 4 or 8 neighbouring values.
#pragma once

#include <cstdint>

namespace pl {

template <int N, int Values>
struct Grid {
  int8_t at[N][Values];
};

extern const Grid<256, 8> kGridIQ2_XXS;  // of 8, 25, 43
extern const Grid<512, 8> kGridIQ2_XS;   // of 8, 25, 43
extern const Grid<1024, 8> kGridIQ2_S;   // of 8, 25, 43
extern const Grid<2048, 8> kGridIQ1;     // of -1, 0, 1
extern const Grid<256, 4> kGridIQ3_XXS;  // of 4, 12, 20, 28, 36, 44, 52, 62
extern const Grid<512, 4> kGridIQ3_S;    // of 1, 3, 5, 7, 9, 11, 13, 15

// Bit i of the index says whether value i is -1 rather than 0: what signs of eight elements do.
extern const Grid<256, 8> kSignMasks;

}  // namespace pl

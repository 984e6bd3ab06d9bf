// Compiled with: -O2 -mavx2 -mfma -mf16c
// Kernels for x86-64 with AVX2, FMA and F16C: quantized activations; products with quantized matrices are in
// panel_products.h, kernels on floats in avx2_float.h. This file alone gets the flags above (builds read that line).
// Everything but kFillAvx2 is in nameless namespaces, and no header with external inline functions is used: nothing of
// this can reach other code.
#if defined(__x86_64__)

#include "attention_block.h"
#include "avx2_float.h"
#include "avx2_vector.h"
#include "kernels.h"
#include "multiply_rows.h"
#include "float_products.h"
#include "panel_products.h"

namespace pl {
namespace {

// The sums of the even and of the odd numbers of 16 bits, in the lowest two.
inline __m128i add_up_pairs(__m128i v) {
  const __m128i two = _mm_add_epi16(v, _mm_unpackhi_epi64(v, v));
  return _mm_add_epi16(two, _mm_shuffle_epi32(two, 1));
}

void quantize_act(const float* x, ActBlock* out, int64_t stride, int64_t n) {
  const __m256i magnitude = _mm256_set1_epi32(0x7FFFFFFF);
  for (const float* const end = x + n; x < end; x += 32, out += stride) {
    __m256 v[4];
    __m256i most = _mm256_setzero_si256();
    for (int k = 0; k < 4; ++k) {
      v[k] = _mm256_loadu_ps(x + 8 * k);
      most = _mm256_max_epi32(most, _mm256_and_si256(_mm256_castps_si256(v[k]), magnitude));
    }
    __m128i m = _mm_max_epi32(_mm256_castsi256_si128(most), _mm256_extracti128_si256(most, 1));
    m = _mm_max_epi32(m, _mm_unpackhi_epi64(m, m));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 1));
    const int32_t bits = _mm_cvtsi128_si32(m);
    const float largest = _mm_cvtss_f32(_mm_castsi128_ps(m));
    const bool finite = bits < 0x7F800000;
    if (!finite || !(largest >= 1e-30f)) {  // as in scalar.cc
      const float d = finite ? 0.0f : __builtin_nanf("");
      *out = {}, out->d = out->d_sum = d;
      continue;
    }
    const __m256 inverse = _mm256_set1_ps(127.0f / largest);
    __m256i q[4];
    for (int k = 0; k < 4; ++k) q[k] = _mm256_cvtps_epi32(_mm256_mul_ps(v[k], inverse));
    // Packing works within 128 bits; the permutation puts the fours in order again.
    const __m256i bytes = _mm256_permutevar8x32_epi32(
        _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3])),
        _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    const __m256i pairs = _mm256_sub_epi16(_mm256_setzero_si256(), _mm256_maddubs_epi16(_mm256_set1_epi8(1), bytes));
    const __m128i low = add_up_pairs(_mm256_castsi256_si128(pairs)), high = add_up_pairs(_mm256_extracti128_si256(pairs, 1));
    _mm_storeu_si64(out->minus_pairs16, _mm_unpacklo_epi32(low, high));
    const int32_t both = _mm_cvtsi128_si32(_mm_add_epi16(low, high));  // GCC 10 knows no _mm_storeu_si32
    __builtin_memcpy(out->minus_pairs, &both, sizeof both);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out->q), bytes);
    out->d = largest / 127.0f;
    for (int h = 0; h < 2; ++h) out->minus_sum16[h] = out->minus_pairs16[h][0] + out->minus_pairs16[h][1];
    out->minus_sum = out->minus_sum16[0] + out->minus_sum16[1];
    out->d_sum = out->d * static_cast<float>(-out->minus_sum);
  }
}

}  // namespace

const Fill kFillAvx2 = [](Kernels& table) {
  fill_panel_products<Avx2>(table);
  fill_float_products<Avx2>(table);
  fill_attention<Avx2>(table);
  table.quantize_act = quantize_act;
  fill_avx2_float(table);
};

}  // namespace pl

#endif

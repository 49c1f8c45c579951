#pragma once

// Number formats that more than one AVX-512 file needs: see gemm_avx512.h for what a Dot is.

#include "ops/matmul_int8/cpu/gemm_avx512.h"

namespace ortqlora {
namespace {

// Shuffle of 16-byte lanes that makes dword d of a step from stored bytes: low half from byte `low + d *
// stride`, high half from `high + d * stride`, each zero-extended.
constexpr long long kNoByte = 0x80;

inline __m512i WidenPairs(int low, int high, int stride) {
  long long halves[2] = {0, 0};
  for (int d = 0; d < 4; ++d) {
    const long long dword =
        (low + d * stride) | kNoByte << 8 | static_cast<long long>(high + d * stride) << 16 | kNoByte << 24;
    halves[d / 2] |= dword << (d % 2 * 32);
  }
  return RepeatLane(halves[1], halves[0]);
}

inline __m512i WidenSingles(int first, int stride) {
  long long halves[2] = {0, 0};
  for (int d = 0; d < 4; ++d) {
    const long long dword = (first + d * stride) | kNoByte << 8 | kNoByte << 16 | kNoByte << 24;
    halves[d / 2] |= dword << (d % 2 * 32);
  }
  return RepeatLane(halves[1], halves[0]);
}

// In a lane, k is byte `k` of dword `column`; a gradient step runs over columns instead.
constexpr int Place(bool gradient, int element) { return gradient ? 4 * element : element; }
constexpr int Stride(bool gradient) { return gradient ? 1 : 4; }

struct FloatDot {
  using Sum = __m512;
  static constexpr RowFormat kFormat = RowFormat::kFloat;
  static constexpr int kOutputs = 4;
  static constexpr int kParts = 4;

  static Sum Zero() { return _mm512_setzero_ps(); }
  static Sum Start(const int32_t*, int) { return Zero(); }
  static __m512 ToFloat(Sum sum) { return sum; }
  static Sum MultiplyAdd(Sum sum, __m512i row, __m512i weight) {
    __asm__("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(row), "v"(weight));
    return sum;
  }
  static __m128 Fold(Sum sum, const int32_t*, int) {
    const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(sum), _mm512_extractf32x8_ps(sum, 1));
    return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
  }

  template <bool kGradient>
  struct Converter {
    __m512i widen[4] = {WidenSingles(Place(kGradient, 0), Stride(kGradient)),
                        WidenSingles(Place(kGradient, 1), Stride(kGradient)),
                        WidenSingles(Place(kGradient, 2), Stride(kGradient)),
                        WidenSingles(Place(kGradient, 3), Stride(kGradient))};
    __m512i zero_point = _mm512_set1_epi32(128);

    void operator()(__m512i stored, int part, __m512i (&out)[1]) const {
      const __m512i q = _mm512_sub_epi32(_mm512_shuffle_epi8(stored, widen[part]), zero_point);
      out[0] = _mm512_castps_si512(_mm512_cvtepi32_ps(q));
    }
  };
};

// int16 pairs into int32 sums; the multiply-add instruction is the derived Dot's.
struct Int16Format {
  using Sum = __m512i;
  static constexpr RowFormat kFormat = RowFormat::kInt16;
  static constexpr int kOutputs = 2;
  static constexpr int kParts = 1;

  static Sum Zero() { return _mm512_setzero_si512(); }
  static Sum Start(const int32_t*, int) { return Zero(); }
  static __m512 ToFloat(Sum sum) { return _mm512_cvtepi32_ps(sum); }
  static __m128i FoldIntegers(Sum sum) {
    const __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(sum), _mm512_extracti32x8_epi32(sum, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
  }
  static __m128 Fold(Sum sum, const int32_t*, int) { return _mm_cvtepi32_ps(FoldIntegers(sum)); }

  template <bool kGradient>
  struct Converter {
    __m512i widen[2] = {WidenPairs(Place(kGradient, 0), Place(kGradient, 1), Stride(kGradient)),
                        WidenPairs(Place(kGradient, 2), Place(kGradient, 3), Stride(kGradient))};
    __m512i zero_point = _mm512_set1_epi16(128);

    void operator()(__m512i stored, int, __m512i (&out)[2]) const {
      out[0] = _mm512_sub_epi16(_mm512_shuffle_epi8(stored, widen[0]), zero_point);
      out[1] = _mm512_sub_epi16(_mm512_shuffle_epi8(stored, widen[1]), zero_point);
    }
  };
};

}  // namespace
}  // namespace ortqlora

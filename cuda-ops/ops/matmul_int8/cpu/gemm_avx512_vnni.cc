#include "ops/matmul_int8/cpu/dots_avx512.h"

namespace ortqlora {
namespace {

struct Int16Dot : Int16Format {
  static Sum MultiplyAdd(Sum sum, __m512i row, __m512i weight) {
    __asm__("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(row), "v"(weight));
    return sum;
  }
};

// Weights are the unsigned operand (q + 128), activations the signed one: sums start from -128 times the sum
// of the row, which is known before the product starts, and nothing saturates.
struct Int8Dot {
  using Sum = __m512i;
  static constexpr RowFormat kFormat = RowFormat::kInt8;
  static constexpr int kOutputs = 1;
  static constexpr int kParts = 1;

  static Sum Zero() { return _mm512_setzero_si512(); }
  static Sum Start(const int32_t* row_init, int row) { return _mm512_set1_epi32(row_init[row]); }
  static __m512 ToFloat(Sum sum) { return _mm512_cvtepi32_ps(sum); }
  static Sum MultiplyAdd(Sum sum, __m512i row, __m512i weight) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(weight), "v"(row));
    return sum;
  }
  static __m128 Fold(Sum sum, const int32_t* row_init, int row) {
    const __m128i folded = Int16Format::FoldIntegers(sum);
    return _mm_cvtepi32_ps(_mm_add_epi32(folded, _mm_set1_epi32(row_init[row])));
  }

  template <bool kGradient>
  struct Converter {
    static_assert(kGradient, "forward takes the stored bytes as they are");
    __m512i transpose = RepeatLane(0x0F0B07030E0A0602, 0x0D0905010C080400);

    void operator()(__m512i stored, int, __m512i (&out)[1]) const {
      out[0] = _mm512_shuffle_epi8(stored, transpose);
    }
  };
};

}  // namespace

const GemmKernels& Avx512VnniInt16Kernels() {
  static constexpr GemmKernels kKernels = MakeKernels<Int16Dot>(2048, kAlwaysDirect, 40);
  return kKernels;
}

const GemmKernels& Avx512VnniInt8Kernels() {
  static constexpr GemmKernels kKernels = MakeKernels<Int8Dot>(4096, 0, 48);
  return kKernels;
}

}  // namespace ortqlora

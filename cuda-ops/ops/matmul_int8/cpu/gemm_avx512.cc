#include "ops/matmul_int8/cpu/dots_avx512.h"

namespace ortqlora {
namespace {

struct Int16Dot : Int16Format {
  static Sum MultiplyAdd(Sum sum, __m512i row, __m512i weight) {
    return _mm512_add_epi32(sum, _mm512_madd_epi16(row, weight));
  }
};

}  // namespace

const GemmKernels& Avx512FloatKernels() {
  // 512 steps of 64 columns are 128 KB of scratch, half of what the other formats take in L2.
  static constexpr GemmKernels kKernels = MakeKernels<FloatDot>(512, kAlwaysDirect, 8);
  return kKernels;
}

const GemmKernels& Avx512Int16Kernels() {
  static constexpr GemmKernels kKernels = MakeKernels<Int16Dot>(2048, kAlwaysDirect, 40);
  return kKernels;
}

}  // namespace ortqlora

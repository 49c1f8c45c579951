#include "ops/matmul_float/cpu/pack_avx512.h"

namespace ortqlora {
namespace {

// Two bf16 a dword, the earlier element in the low half. vcvtne2ps2bf16 takes subnormals for zero, as the dot
// instruction does.
struct Bf16Form {
  static constexpr int64_t kElements = 2;
  __m512 factor;

  __m512i Along(const float* p, int64_t left) const {
    const __m512 low = _mm512_mul_ps(_mm512_maskz_loadu_ps(FirstOf16(left), p), factor);
    const __m512 high = left > 16 ? _mm512_mul_ps(_mm512_maskz_loadu_ps(FirstOf16(left - 16), p + 16), factor)
                                  : _mm512_setzero_ps();
    return (__m512i)_mm512_cvtne2ps_pbh(high, low);
  }
  __m512i Across(const float* p, int64_t stride, int64_t left, __mmask16 lanes) const {
    if (left <= 0) return _mm512_setzero_si512();
    const __m512 low = _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, p), factor);
    const __m512 high =
        left > 1 ? _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, p + stride), factor) : _mm512_setzero_ps();
    return Pairs(low, high);
  }
  static __m512i Whole(const float* p, int64_t stride) {
    return Pairs(_mm512_loadu_ps(p), _mm512_loadu_ps(p + stride));
  }
  // [16 low][16 high] to pairs.
  static __m512i Pairs(__m512 low, __m512 high) {
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23,
                                           7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(high, low));
  }
};

}  // namespace

const PackKernels& Avx512Bf16Packing() {
  static constexpr PackKernels kKernels = MakePacking<Bf16Form>();
  return kKernels;
}

}  // namespace ortqlora

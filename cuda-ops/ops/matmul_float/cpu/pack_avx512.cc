#include "ops/matmul_float/cpu/pack_avx512.h"

namespace ortqlora {
namespace {

struct FloatForm {
  static constexpr int64_t kElements = 1;
  __m512 factor;

  __m512i Along(const float* p, int64_t left) const {
    return Finish(_mm512_mul_ps(_mm512_maskz_loadu_ps(FirstOf16(left), p), factor));
  }
  __m512i Across(const float* p, int64_t, int64_t left, __mmask16 lanes) const {
    return left > 0 ? Finish(_mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, p), factor)) : _mm512_setzero_si512();
  }
  static __m512i Whole(const float* p, int64_t) { return Finish(_mm512_loadu_ps(p)); }
  static __m512i Finish(__m512 value) { return _mm512_castps_si512(value); }
};

// Rounds to nearest even at bf16's last bit; NaN stays NaN.
struct RoundedForm {
  static constexpr int64_t kElements = 1;
  __m512 factor;

  __m512i Along(const float* p, int64_t left) const {
    return Finish(_mm512_mul_ps(_mm512_maskz_loadu_ps(FirstOf16(left), p), factor));
  }
  __m512i Across(const float* p, int64_t, int64_t left, __mmask16 lanes) const {
    return left > 0 ? Finish(_mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, p), factor)) : _mm512_setzero_si512();
  }
  static __m512i Whole(const float* p, int64_t) { return Finish(_mm512_loadu_ps(p)); }
  static __m512i Finish(__m512 value) {
    const __m512i bits = _mm512_castps_si512(value);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i sum = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF)));
    const __mmask16 nan = _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);
    const __m512i kept = _mm512_mask_or_epi32(sum, nan, bits, _mm512_set1_epi32(0x400000));
    return _mm512_and_si512(kept, _mm512_set1_epi32(static_cast<int>(0xFFFF0000u)));
  }
};

}  // namespace

const PackKernels& Avx512FloatPacking() {
  static constexpr PackKernels kKernels = MakePacking<FloatForm>();
  return kKernels;
}

const PackKernels& Avx512RoundedPacking() {
  static constexpr PackKernels kKernels = MakePacking<RoundedForm>();
  return kKernels;
}

}  // namespace ortqlora

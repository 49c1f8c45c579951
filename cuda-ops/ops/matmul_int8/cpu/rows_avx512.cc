#include <immintrin.h>

#include "ops/matmul_int8/cpu/gemm_kernels.h"

// Compiled for AVX-512: everything here stays in the anonymous namespace and no library templates are used,
// lest the linker let other paths run an AVX-512 copy of a shared inline function.

namespace ortqlora {
namespace {

__mmask16 Tail(int64_t count) { return static_cast<__mmask16>((1u << count) - 1u); }

// Calls body(offset, mask) for each 16 elements; the last mask may be partial.
template <class Body>
inline void ForEach16(int64_t count, Body body) {
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) body(i, __mmask16{0xFFFF});
  if (i < count) body(i, Tail(count - i));
}

void HalfToFloatRow(const uint16_t* in, int64_t count, float* out) {
  ForEach16(count, [&](int64_t i, __mmask16 mask) {
    _mm512_mask_storeu_ps(out + i, mask, _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, in + i)));
  });
}

void FloatToHalfRow(const float* in, int64_t count, uint16_t* out) {
  ForEach16(count, [&](int64_t i, __mmask16 mask) {
    const __m512 value = _mm512_maskz_loadu_ps(mask, in + i);
    _mm256_mask_storeu_epi16(out + i, mask, _mm512_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT));
  });
}

void Multiply(const float* a, const float* b, int64_t count, float* out) {
  ForEach16(count, [&](int64_t i, __mmask16 mask) {
    const __m512 product =
        _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, a + i), _mm512_maskz_loadu_ps(mask, b + i));
    _mm512_mask_storeu_ps(out + i, mask, product);
  });
}

uint32_t MaxMagnitudeBits(const float* in, int64_t count) {
  const __m512i magnitude = _mm512_set1_epi32(0x7FFFFFFF);
  __m512i largest = _mm512_setzero_si512();
  ForEach16(count, [&](int64_t i, __mmask16 mask) {
    largest = _mm512_max_epu32(largest, _mm512_and_si512(magnitude, _mm512_maskz_loadu_epi32(mask, in + i)));
  });
  return _mm512_reduce_max_epu32(largest);
}

__m512i Quantized(const float* in, __mmask16 mask, __m512 factor) {
  return _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_maskz_loadu_ps(mask, in), factor));
}

void QuantizeInt16(const float* in, int64_t count, float factor, int16_t* out) {
  const __m512 factors = _mm512_set1_ps(factor);
  ForEach16(count, [&](int64_t i, __mmask16 mask) {
    _mm512_mask_cvtepi32_storeu_epi16(out + i, mask, Quantized(in + i, mask, factors));
  });
}

int32_t QuantizeInt8(const float* in, int64_t count, float factor, int8_t* out) {
  const __m512 factors = _mm512_set1_ps(factor);
  __m512i sum = _mm512_setzero_si512();
  ForEach16(count, [&](int64_t i, __mmask16 mask) {
    const __m512i q = Quantized(in + i, mask, factors);
    sum = _mm512_add_epi32(sum, q);
    _mm512_mask_cvtepi32_storeu_epi8(out + i, mask, q);
  });
  return _mm512_reduce_add_epi32(sum);
}

// Rounds to nearest even in integer arithmetic, which unlike vcvtneps2bf16 keeps subnormals and needs no
// AVX-512 BF16; NaN stays NaN.
void ToBf16(const float* in, int64_t count, uint16_t* out) {
  const __m512i half = _mm512_set1_epi32(0x7FFF), one = _mm512_set1_epi32(1), quiet = _mm512_set1_epi32(0x40);
  ForEach16(count, [&](int64_t i, __mmask16 mask) {
    const __m512 value = _mm512_maskz_loadu_ps(mask, in + i);
    const __m512i bits = _mm512_castps_si512(value);
    const __m512i upper = _mm512_srli_epi32(bits, 16);
    const __m512i bias = _mm512_add_epi32(half, _mm512_and_si512(upper, one));
    const __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(bits, bias), 16);
    const __mmask16 nan = _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);
    _mm512_mask_cvtepi32_storeu_epi16(out + i, mask, _mm512_mask_or_epi32(rounded, nan, upper, quiet));
  });
}

}  // namespace

const RowKernels& Avx512RowKernels() {
  static constexpr RowKernels kKernels = {HalfToFloatRow, FloatToHalfRow, Multiply, MaxMagnitudeBits,
                                          QuantizeInt16,  QuantizeInt8,   ToBf16};
  return kKernels;
}

}  // namespace ortqlora

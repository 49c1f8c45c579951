#include <immintrin.h>

#include "ops/matmul_int8/cpu/gemm_kernels.h"

// Compiled for AVX2: everything here stays in the anonymous namespace and no library templates are used,
// lest the linker let the portable path run an AVX2 copy of a shared inline function.

namespace ortqlora {
namespace {

// Loads and stores of the first `count` of 8 elements.
__m256i Mask(int64_t count) {
  alignas(32) static constexpr int32_t kOnesThenZeros[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kOnesThenZeros + 8 - count));
}

// Calls body(offset, count) for each 8 elements; the last count may be smaller.
template <class Body>
inline void ForEach8(int64_t count, Body body) {
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) body(i, int64_t{8});
  if (i < count) body(i, count - i);
}

__m256 Load(const float* in, int64_t count) {
  return count == 8 ? _mm256_loadu_ps(in) : _mm256_maskload_ps(in, Mask(count));
}

void Store(float* out, int64_t count, __m256 value) {
  count == 8 ? _mm256_storeu_ps(out, value) : _mm256_maskstore_ps(out, Mask(count), value);
}

// Eight 16-bit values, or the first `count` of them through the stack.
void Store16(void* out, int64_t count, __m128i value) {
  if (count == 8) {
    _mm_storeu_si128(static_cast<__m128i*>(out), value);
    return;
  }
  alignas(16) uint16_t lanes[8];
  _mm_store_si128(reinterpret_cast<__m128i*>(lanes), value);
  for (int64_t i = 0; i < count; ++i) static_cast<uint16_t*>(out)[i] = lanes[i];
}

// The low 16 bits of eight 32-bit values.
__m128i Narrow(__m256i value) {
  const __m256i low = _mm256_set1_epi64x(0x0D0C090805040100);
  const __m256i lanes = _mm256_shuffle_epi8(value, low);
  return _mm256_castsi256_si128(_mm256_permute4x64_epi64(lanes, 0b1000));
}

void HalfToFloatRow(const uint16_t* in, int64_t count, float* out) {
  ForEach8(count, [&](int64_t i, int64_t n) {
    alignas(16) uint16_t lanes[8] = {};
    for (int64_t j = 0; j < n; ++j) lanes[j] = in[i + j];
    Store(out + i, n, _mm256_cvtph_ps(_mm_load_si128(reinterpret_cast<const __m128i*>(lanes))));
  });
}

void FloatToHalfRow(const float* in, int64_t count, uint16_t* out) {
  ForEach8(count, [&](int64_t i, int64_t n) {
    Store16(out + i, n, _mm256_cvtps_ph(Load(in + i, n), _MM_FROUND_TO_NEAREST_INT));
  });
}

void Multiply(const float* a, const float* b, int64_t count, float* out) {
  ForEach8(count,
           [&](int64_t i, int64_t n) { Store(out + i, n, _mm256_mul_ps(Load(a + i, n), Load(b + i, n))); });
}

uint32_t MaxMagnitudeBits(const float* in, int64_t count) {
  const __m256i magnitude = _mm256_set1_epi32(0x7FFFFFFF);
  __m256i largest = _mm256_setzero_si256();
  ForEach8(count, [&](int64_t i, int64_t n) {
    const __m256i bits = _mm256_castps_si256(Load(in + i, n));
    largest = _mm256_max_epu32(largest, _mm256_and_si256(magnitude, bits));
  });
  alignas(32) uint32_t lanes[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), largest);
  uint32_t result = 0;
  for (uint32_t lane : lanes) result = lane > result ? lane : result;
  return result;
}

void QuantizeInt16(const float* in, int64_t count, float factor, int16_t* out) {
  const __m256 factors = _mm256_set1_ps(factor);
  ForEach8(count, [&](int64_t i, int64_t n) {
    Store16(out + i, n, Narrow(_mm256_cvtps_epi32(_mm256_mul_ps(Load(in + i, n), factors))));
  });
}

}  // namespace

const RowKernels& Avx2RowKernels() {
  // No int8 and bf16 rows: the int16 and fp32 kernels serve those modes.
  static constexpr RowKernels kKernels = {HalfToFloatRow, FloatToHalfRow, Multiply, MaxMagnitudeBits,
                                          QuantizeInt16,  nullptr,        nullptr};
  return kKernels;
}

}  // namespace ortqlora

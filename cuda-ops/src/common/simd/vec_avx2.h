#pragma once

// As vec_portable.h, of 8 elements. A count below 8 reads zeros and writes nothing past it.

#include <immintrin.h>

#include <cstdint>

namespace ortqlora {
namespace {

struct Vec {
  static constexpr int64_t kLanes = 8;
  __m256 v;

  static __m256i FirstOf(int64_t count) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), lane);
  }

  static Vec Set(float value) { return {_mm256_set1_ps(value)}; }
  static Vec Load(const float* p, int64_t count) {
    return {count == kLanes ? _mm256_loadu_ps(p) : _mm256_maskload_ps(p, FirstOf(count))};
  }
  void Store(float* p, int64_t count) const {
    if (count == kLanes) {
      _mm256_storeu_ps(p, v);
    } else {
      _mm256_maskstore_ps(p, FirstOf(count), v);
    }
  }

  friend Vec operator+(Vec a, Vec b) { return {_mm256_add_ps(a.v, b.v)}; }
  friend Vec operator-(Vec a, Vec b) { return {_mm256_sub_ps(a.v, b.v)}; }
  friend Vec operator*(Vec a, Vec b) { return {_mm256_mul_ps(a.v, b.v)}; }
  friend Vec operator/(Vec a, Vec b) { return {_mm256_div_ps(a.v, b.v)}; }
};

inline Vec MultiplyAdd(Vec a, Vec b, Vec c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
inline Vec Max(Vec a, Vec b) { return {_mm256_max_ps(a.v, b.v)}; }
inline Vec Min(Vec a, Vec b) { return {_mm256_min_ps(a.v, b.v)}; }
inline Vec Sqrt(Vec a) { return {_mm256_sqrt_ps(a.v)}; }
inline Vec Round(Vec a) { return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
inline Vec WhereLess(Vec a, Vec limit, Vec b, Vec c) {
  return {_mm256_blendv_ps(c.v, b.v, _mm256_cmp_ps(a.v, limit.v, _CMP_LT_OQ))};
}
inline Vec PowerOfTwo(Vec n) {
  const __m256i biased = _mm256_add_epi32(_mm256_cvtps_epi32(n.v), _mm256_set1_epi32(127));
  return {_mm256_castsi256_ps(_mm256_slli_epi32(biased, 23))};
}
inline float Sum(Vec a) {
  __m128 sum = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
  return _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
}
inline float Largest(Vec a) {
  __m128 most = _mm_max_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  most = _mm_max_ps(most, _mm_movehl_ps(most, most));
  return _mm_cvtss_f32(_mm_max_ss(most, _mm_movehdup_ps(most)));
}

}  // namespace
}  // namespace ortqlora

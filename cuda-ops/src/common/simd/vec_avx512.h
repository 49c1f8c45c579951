#pragma once

// As vec_avx2.h, of 16 elements.

#include <immintrin.h>

#include <cstdint>

namespace ortqlora {
namespace {

struct Vec {
  static constexpr int64_t kLanes = 16;
  __m512 v;

  static __mmask16 FirstOf(int64_t count) { return static_cast<__mmask16>((1u << count) - 1u); }

  static Vec Set(float value) { return {_mm512_set1_ps(value)}; }
  static Vec Load(const float* p, int64_t count) {
    return {count == kLanes ? _mm512_loadu_ps(p) : _mm512_maskz_loadu_ps(FirstOf(count), p)};
  }
  void Store(float* p, int64_t count) const {
    if (count == kLanes) {
      _mm512_storeu_ps(p, v);
    } else {
      _mm512_mask_storeu_ps(p, FirstOf(count), v);
    }
  }

  friend Vec operator+(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
  friend Vec operator-(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
  friend Vec operator*(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
  friend Vec operator/(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }
};

inline Vec MultiplyAdd(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline Vec Max(Vec a, Vec b) { return {_mm512_max_ps(a.v, b.v)}; }
inline Vec Min(Vec a, Vec b) { return {_mm512_min_ps(a.v, b.v)}; }
inline Vec Sqrt(Vec a) { return {_mm512_sqrt_ps(a.v)}; }
inline Vec Round(Vec a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
inline Vec WhereLess(Vec a, Vec limit, Vec b, Vec c) {
  return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v, limit.v, _CMP_LT_OQ), c.v, b.v)};
}
inline Vec PowerOfTwo(Vec n) {
  const __m512i biased = _mm512_add_epi32(_mm512_cvtps_epi32(n.v), _mm512_set1_epi32(127));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(biased, 23))};
}
inline float Sum(Vec a) { return _mm512_reduce_add_ps(a.v); }
inline float Largest(Vec a) { return _mm512_reduce_max_ps(a.v); }

}  // namespace
}  // namespace ortqlora

#pragma once

#include <cstdint>

namespace ortqlora {
namespace {

// Sum over a row of what `term` gives for each vector, which is 0 past the row's end.
template <class Term>
inline float RowSum(int64_t count, const Term& term) {
  Vec sums[4] = {Vec::Set(0), Vec::Set(0), Vec::Set(0), Vec::Set(0)};
  int64_t i = 0;
  for (; i + 4 * Vec::kLanes <= count; i += 4 * Vec::kLanes) {
    for (int j = 0; j < 4; ++j) sums[j] = sums[j] + term(i + j * Vec::kLanes, Vec::kLanes);
  }
  for (; i < count; i += Vec::kLanes) {
    sums[0] = sums[0] + term(i, count - i < Vec::kLanes ? count - i : Vec::kLanes);
  }
  return Sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

// The first n elements of a vector, 0 in the others.
inline Vec FirstOf(Vec value, int64_t n) {
  if (n == Vec::kLanes) return value;
  float elements[Vec::kLanes];
  value.Store(elements, Vec::kLanes);
  return Vec::Load(elements, n);
}

inline float InverseRoot(float mean_square, float epsilon) {
  float inverse;
  (Vec::Set(1.0f) / Sqrt(Vec::Set(mean_square + epsilon))).Store(&inverse, 1);
  return inverse;
}

float RmsNormRow(const float* x, const float* weight, int64_t count, float epsilon, float* y) {
  const float squares = RowSum(count, [=](int64_t i, int64_t n) {
    const Vec value = Vec::Load(x + i, n);
    return value * value;
  });
  const float inv = InverseRoot(squares / static_cast<float>(count), epsilon);
  const Vec factor = Vec::Set(inv);
  ForEachVec(count, [=](int64_t i, int64_t n) {
    (Vec::Load(x + i, n) * factor * Vec::Load(weight + i, n)).Store(y + i, n);
  });
  return inv;
}

// With t = dy * weight: dx = inv * (t - x * inv^2 * mean(t * x)).
void RmsNormGradRow(const float* dy, const float* x, const float* weight, float inv, int64_t count,
                    float* dx) {
  const float along = RowSum(count, [=](int64_t i, int64_t n) {
    return Vec::Load(dy + i, n) * Vec::Load(weight + i, n) * Vec::Load(x + i, n);
  });
  const Vec back = Vec::Set(-inv * inv * (along / static_cast<float>(count))), factor = Vec::Set(inv);
  ForEachVec(count, [=](int64_t i, int64_t n) {
    const Vec t = Vec::Load(dy + i, n) * Vec::Load(weight + i, n);
    (factor * MultiplyAdd(Vec::Load(x + i, n), back, t)).Store(dx + i, n);
  });
}

void RmsNormWeightGradRow(const float* dy, const float* x, float inv, int64_t count, float* dweight) {
  const Vec factor = Vec::Set(inv);
  ForEachVec(count, [=](int64_t i, int64_t n) {
    const Vec normalized = Vec::Load(x + i, n) * factor;
    MultiplyAdd(Vec::Load(dy + i, n), normalized, Vec::Load(dweight + i, n)).Store(dweight + i, n);
  });
}

void LayerNormRow(const float* x, const float* weight, const float* bias, int64_t count, float epsilon,
                  float* y, float* mean_out, float* inv_out) {
  const float size = static_cast<float>(count);
  const float mean = RowSum(count, [=](int64_t i, int64_t n) { return Vec::Load(x + i, n); }) / size;
  const Vec centre = Vec::Set(mean), zero = Vec::Set(0.0f);
  const float squares = RowSum(count, [=](int64_t i, int64_t n) {
    const Vec value = FirstOf(Vec::Load(x + i, n) - centre, n);
    return value * value;
  });
  const float inv = InverseRoot(squares / size, epsilon);
  const Vec factor = Vec::Set(inv);
  ForEachVec(count, [=](int64_t i, int64_t n) {
    const Vec normalized = (Vec::Load(x + i, n) - centre) * factor;
    const Vec shift = bias == nullptr ? zero : Vec::Load(bias + i, n);
    MultiplyAdd(normalized, Vec::Load(weight + i, n), shift).Store(y + i, n);
  });
  *mean_out = mean;
  *inv_out = inv;
}

// With t = dy * weight and n = (x - mean) * inv: dx = inv * (t - mean(t) - n * mean(t * n)).
void LayerNormGradRow(const float* dy, const float* x, const float* weight, float mean, float inv,
                      int64_t count, float* dx) {
  const float size = static_cast<float>(count);
  const Vec centre = Vec::Set(mean), factor = Vec::Set(inv);
  const float sum =
      RowSum(count, [=](int64_t i, int64_t n) { return Vec::Load(dy + i, n) * Vec::Load(weight + i, n); });
  const float along = RowSum(count, [=](int64_t i, int64_t n) {
    const Vec t = Vec::Load(dy + i, n) * Vec::Load(weight + i, n);
    return t * ((Vec::Load(x + i, n) - centre) * factor);
  });
  const Vec level = Vec::Set(sum / size), back = Vec::Set(-along / size);
  ForEachVec(count, [=](int64_t i, int64_t n) {
    const Vec t = Vec::Load(dy + i, n) * Vec::Load(weight + i, n);
    const Vec normalized = (Vec::Load(x + i, n) - centre) * factor;
    (factor * MultiplyAdd(normalized, back, t - level)).Store(dx + i, n);
  });
}

void LayerNormWeightGradRow(const float* dy, const float* x, float mean, float inv, int64_t count,
                            float* dweight, float* dbias) {
  const Vec centre = Vec::Set(mean), factor = Vec::Set(inv);
  ForEachVec(count, [=](int64_t i, int64_t n) {
    const Vec gradient = Vec::Load(dy + i, n);
    if (dweight != nullptr) {
      const Vec normalized = (Vec::Load(x + i, n) - centre) * factor;
      MultiplyAdd(gradient, normalized, Vec::Load(dweight + i, n)).Store(dweight + i, n);
    }
    if (dbias != nullptr) (gradient + Vec::Load(dbias + i, n)).Store(dbias + i, n);
  });
}

}  // namespace
}  // namespace ortqlora

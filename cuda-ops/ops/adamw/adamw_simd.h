#pragma once

#include <cstdint>

#include "ops/simd/simd_kernels.h"

namespace ortqlora {
namespace {

void AdamWRow(const AdamWFactors& factors, const float* p, const float* g, const float* m, const float* v,
              int64_t count, float* new_p, float* new_m, float* new_v) {
  const Vec beta1 = Vec::Set(factors.beta1), beta2 = Vec::Set(factors.beta2);
  const Vec gradient = Vec::Set(factors.gradient), square = Vec::Set(factors.square);
  const Vec rate = Vec::Set(-factors.rate), keep = Vec::Set(factors.keep),
            epsilon = Vec::Set(factors.epsilon);
  ForEachVec(count, [=](int64_t i, int64_t n) {
    const Vec grad = Vec::Load(g + i, n);
    const Vec first = MultiplyAdd(beta1, Vec::Load(m + i, n), gradient * grad);
    const Vec second = MultiplyAdd(beta2, Vec::Load(v + i, n), square * grad * grad);
    const Vec kept = keep * Vec::Load(p + i, n);
    first.Store(new_m + i, n);
    second.Store(new_v + i, n);
    MultiplyAdd(rate, first / (Sqrt(second) + epsilon), kept).Store(new_p + i, n);
  });
}

// Sixteen sums side by side, which the compiler keeps in vectors of whatever width: squares of floats are
// exact in float64, so that every path gives the same bits.
double Squares(const float* x, int64_t count) {
  constexpr int64_t kSums = 16;
  double sums[kSums] = {};
  int64_t i = 0;
  for (; i + kSums <= count; i += kSums) {
    for (int64_t j = 0; j < kSums; ++j) sums[j] += double{x[i + j]} * double{x[i + j]};
  }
  for (int64_t j = 0; i + j < count; ++j) sums[j] += double{x[i + j]} * double{x[i + j]};
  for (int64_t half = kSums / 2; half > 0; half /= 2) {
    for (int64_t j = 0; j < half; ++j) sums[j] += sums[j + half];
  }
  return sums[0];
}

}  // namespace
}  // namespace ortqlora

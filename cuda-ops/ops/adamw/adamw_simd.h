#pragma once

#include <cstdint>

#include "ops/simd/simd_kernels.h"

namespace ortqlora {
namespace {

void AdamWRow(const AdamWStep& step, const float* p, const float* g, const float* m, const float* v,
              int64_t count, float* new_p, float* new_m, float* new_v) {
  const Vec beta1 = Vec::Set(step.beta1), first = Vec::Set(step.first), beta2 = Vec::Set(step.beta2);
  const Vec second = Vec::Set(step.second), keep = Vec::Set(step.keep), rate = Vec::Set(step.rate);
  const Vec epsilon = Vec::Set(step.epsilon);
  ForEachVec(count, [=](int64_t i, int64_t n) {
    const Vec gradient = Vec::Load(g + i, n);
    const Vec mean = MultiplyAdd(Vec::Load(m + i, n), beta1, gradient * first);
    const Vec square = MultiplyAdd(Vec::Load(v + i, n), beta2, gradient * gradient * second);
    const Vec direction = mean / (Sqrt(square) + epsilon);
    mean.Store(new_m + i, n);
    square.Store(new_v + i, n);
    (Vec::Load(p + i, n) * keep - direction * rate).Store(new_p + i, n);
  });
}

}  // namespace
}  // namespace ortqlora

#pragma once

#include <cstdint>

#include "common/parallel.h"
#include "ops/simd/simd_kernels.h"

namespace ortqlora {

// One step of AdamW over all parameters of a flat array, in fp32 (Loshchilov and Hutter 2019). With
// g' = g * factor: m = beta1 m + (1 - beta1) g', v = beta2 v + (1 - beta2) g'^2,
// p = p - rate * (m / (1 - beta1^step) / (sqrt(v / (1 - beta2^step)) + epsilon) + weight_decay * p).
// Each output may be its input's memory.
struct AdamWCall {
  const float* p = nullptr;
  const float* g = nullptr;
  const float* m = nullptr;
  const float* v = nullptr;
  float* new_p = nullptr;
  float* new_m = nullptr;
  float* new_v = nullptr;
  int64_t count = 0;
  int64_t step = 1;  // from 1
  float rate = 0, factor = 1;
  float beta1 = 0, beta2 = 0, epsilon = 0, weight_decay = 0;
};

void StepAdamW(const SimdKernels& kernels, const AdamWCall& call, Parallel& parallel);

// The sum of x^2 in float64, in an order that depends on `count` alone.
double SumOfSquares(const SimdKernels& kernels, const float* x, int64_t count, Parallel& parallel);

}  // namespace ortqlora

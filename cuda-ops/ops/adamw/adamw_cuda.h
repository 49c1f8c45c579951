#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace ortqlora::cuda {

// One step over all parameters of a flat array, in fp32 (Loshchilov and Hutter 2019). With g' = g * factor:
// m = beta1 m + (1 - beta1) g', v = beta2 v + (1 - beta2) g'^2,
// p = p - rate * (m / (1 - beta1^step) / (sqrt(v / (1 - beta2^step)) + epsilon) + weight_decay * p).
// Each output may be its input's memory. rate, step and factor (null: 1) are on the device, so that the host
// never waits for them.
struct AdamWCall {
  const float* p = nullptr;
  const float* g = nullptr;
  const float* m = nullptr;
  const float* v = nullptr;
  const float* rate = nullptr;
  const int64_t* step = nullptr;
  const float* factor = nullptr;
  float* new_p = nullptr;
  float* new_m = nullptr;
  float* new_v = nullptr;
  int64_t count = 0;
  float beta1 = 0, beta2 = 0, epsilon = 0, weight_decay = 0;
};

void LaunchAdamW(const AdamWCall& call, cudaStream_t stream);

// y = sum of x^2 in float64, in an order that depends on `count` alone. `workspace` holds kSquaredNormBytes.
constexpr int64_t kSquaredNormBytes = 1024 * 8;
void LaunchSquaredNorm(const float* x, int64_t count, double* y, void* workspace, cudaStream_t stream);

}  // namespace ortqlora::cuda

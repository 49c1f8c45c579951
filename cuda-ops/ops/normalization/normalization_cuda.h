#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "common/cuda/element.h"

namespace ortqlora::cuda {

// Rows [rows, width] of `element`, each normalised by itself; weight and bias [width] of `weight_element`;
// mean and inv [rows] fp32. RMSNorm: y = x * inv * weight with inv = 1 / sqrt(mean(x^2) + epsilon).
// LayerNorm, where `mean` is not null: y = (x - mean) * inv * weight + bias.
struct NormCall {
  Element element = Element::kFloat, weight_element = Element::kFloat;
  int64_t rows = 0, width = 0;
  const void* x = nullptr;
  const void* weight = nullptr;
  const void* bias = nullptr;  // or null
  float epsilon = 0;
  void* y = nullptr;
  float* mean = nullptr;
  float* inv = nullptr;
};

void LaunchNorm(const NormCall& call, cudaStream_t stream);

// With t = dy * weight and n = (x - mean) * inv (mean 0 where it is null):
// dx = inv * (t - [mean(t), LayerNorm alone] - n * mean(t * n)); dweight = sum of dy * n, dbias = sum of dy.
struct NormGradCall {
  Element element = Element::kFloat, weight_element = Element::kFloat;
  int64_t rows = 0, width = 0;
  const void* dy = nullptr;
  const void* x = nullptr;
  const void* weight = nullptr;
  const float* mean = nullptr;
  const float* inv = nullptr;
  const void* addend = nullptr;  // [rows, width] of `element`, added to dx, or null
  void* dx = nullptr;
  void* dweight = nullptr;     // of weight_element, or null
  void* dbias = nullptr;       // likewise
  float* workspace = nullptr;  // NormGradWorkspace bytes where dweight or dbias is wanted
};

int64_t NormGradWorkspace(int64_t rows, int64_t width);
void LaunchNormGrad(const NormGradCall& call, cudaStream_t stream);

}  // namespace ortqlora::cuda

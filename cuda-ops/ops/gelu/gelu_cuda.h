#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "common/cuda/element.h"

namespace ortqlora::cuda {

// y = x * P(x): P the normal distribution, or with `tanh` its approximation (1 + tanh(u)) / 2,
// u = sqrt(2 / pi) (x + 0.044715 x^3).
void LaunchGelu(Element element, bool tanh, const void* x, int64_t count, void* y, cudaStream_t stream);

// dx = dy * d(x * P(x)) / dx
void LaunchGeluGrad(Element element, bool tanh, const void* dy, const void* x, int64_t count, void* dx,
                    cudaStream_t stream);

}  // namespace ortqlora::cuda

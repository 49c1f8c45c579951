#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "common/cuda/element.h"

namespace ortqlora::cuda {

// y = gate * sigmoid(gate) * up over `count` elements.
void LaunchSwiGlu(Element element, const void* gate, const void* up, int64_t count, void* y,
                  cudaStream_t stream);

// With s = sigmoid(gate): dup = dy * gate * s, dgate = dy * up * s * (1 + gate * (1 - s)).
void LaunchSwiGluGrad(Element element, const void* dy, const void* gate, const void* up, int64_t count,
                      void* dgate, void* dup, cudaStream_t stream);

}  // namespace ortqlora::cuda

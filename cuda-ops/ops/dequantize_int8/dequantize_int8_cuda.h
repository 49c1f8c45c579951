#pragma once

#include <cuda_runtime_api.h>

#include "common/cuda/element.h"
#include "ops/matmul_int8/cuda/device_weight.h"

namespace ortqlora::cuda {

// What[k, n] = q[k, n] * scale[n] from the packed weight, in fp32 and rounded once.
void LaunchDequantize(const DeviceBlocks& weight, const float* scale, Element element, void* out,
                      cudaStream_t stream);

}  // namespace ortqlora::cuda

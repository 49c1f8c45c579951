#pragma once

#include <cuda_runtime_api.h>

#include "common/cuda/device.h"
#include "ops/matmul_int8/cuda/gemm_cuda.h"

namespace ortqlora::cuda {

// A frozen int8 weight with a low-rank branch beside it, What[K, N] + scaling * A^T B^T. A and B are fp32
// whatever the activations' element; products take them in that element, sums are fp32.
struct DeviceLoraCall {
  DeviceGemmCall
      base;  // of the forward product, or of the gradient's; its `in` is x or dy, its `out` y or dx (or null)
  const float* a = nullptr;  // [rank, K]
  const float* b = nullptr;  // [N, rank]
  int64_t rank = 0;
  float scaling = 1;
  // What dA and dB are added to, or null; may be where they go.
  const float* da_start = nullptr;
  const float* db_start = nullptr;
  // Adds the branch to the int8 product afterwards, also where it could be the product's last steps: for
  // comparison.
  bool separate = false;
};

// Bytes of workspace, for one call of either function.
int64_t LoraWorkspace(const DeviceLoraCall& call, const GemmPlan& plan);

// h[rows, rank] = scaling * x * A^T, of the element; y = x * What + h * B^T + bias.
void RunLoraForward(const DeviceLoraCall& call, const GemmPlan& plan, const Device& device, void* h,
                    void* workspace, cudaStream_t stream);

// With dh = scaling * dy * B: dA[rank, K] = dh^T * x, dB[N, rank] = dy^T * h, both fp32, onto their starts;
// dx = dy * What^T + dh * A where base.out is not null.
void RunLoraBackward(const DeviceLoraCall& call, const GemmPlan& plan, const Device& device, const void* x,
                     const void* h, float* da, float* db, void* workspace, cudaStream_t stream);

}  // namespace ortqlora::cuda

#pragma once

#include <cuda_runtime_api.h>

#include "common/cuda/element.h"
#include "ops/attention/attention_shape.h"

namespace ortqlora::cuda {

// Attention over tensors on the device (attention.h); q, k, v, y and their gradients of one element.
struct DeviceAttentionCall {
  Element element = Element::kFloat;
  AttentionShape shape{};
  AttentionMask mask;
  const void* q = nullptr;
  const void* k = nullptr;
  const void* v = nullptr;
  // Results of the forward pass, which the backward pass reads; lse is [batch, heads, queries].
  void* y_out = nullptr;
  float* lse_out = nullptr;
  const void* y = nullptr;
  const float* lse = nullptr;
  const void* dy = nullptr;
  void* dq = nullptr;
  void* dk = nullptr;
  void* dv = nullptr;
  bool hopper = true;  // take the kernels for compute capability 9.0 where they can run
  // For race checkers, which cannot see that one lane may speak for its warp.
  bool every_lane_arrives = false;
};

// The largest head that the kernels take.
constexpr int64_t kLargestHead = 256;

// Bytes of scratch memory; throws Error for heads or masks that are too large.
int64_t AttentionWorkspace(const DeviceAttentionCall& call, bool backward);

void RunAttentionForward(const DeviceAttentionCall& call, void* workspace, cudaStream_t stream);
// The same call gives the same bits: every gradient is summed by one block, in a fixed order.
void RunAttentionBackward(const DeviceAttentionCall& call, void* workspace, cudaStream_t stream);

}  // namespace ortqlora::cuda

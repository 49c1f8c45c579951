#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "common/cuda/element.h"

namespace ortqlora::cuda {

// Heads [batch, heads, sequence, size], or [batch, sequence, heads, size] where `sequence_first`, of which
// the first `turned` features are rotated by halves. cos and sin: [sequence, turned], one such table a batch
// entry where `batched`.
struct RotaryCall {
  Element element = Element::kFloat, angle_element = Element::kFloat;
  const void* x = nullptr;
  const void* cos = nullptr;
  const void* sin = nullptr;
  void* y = nullptr;
  int64_t batch = 0, heads = 0, sequence = 0, size = 0, turned = 0;
  bool sequence_first = false, batched = false;
  bool gradient = false;  // y = x * cos + turn^T(x * sin) instead of x * cos + turn(x) * sin
};

void LaunchRotary(const RotaryCall& call, cudaStream_t stream);

}  // namespace ortqlora::cuda

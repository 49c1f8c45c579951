#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "common/cuda/element.h"

namespace ortqlora::cuda {

// loss = mean over labels other than `ignored` of -log softmax(x * weight + bias)[label], 0 without any, and its
// gradient by x. Logits are fp32 and exist for a few rows at a time. A label that is no class gives NaN, as the host
// does not see labels.
struct DeviceCrossEntropyCall {
  Element element = Element::kFloat;  // of x and dx; products take weight in it
  Element weight_element = Element::kFloat, bias_element = Element::kFloat;
  const void* x = nullptr;       // [rows, width]
  const void* weight = nullptr;  // [width, classes], or [classes, width] where `transposed`
  bool transposed = false;
  const void* bias = nullptr;       // [classes] or null
  const int64_t* labels = nullptr;  // [rows]
  int64_t rows = 0, width = 0, classes = 0, ignored = -100;
  float* loss = nullptr;
  void* dx = nullptr;  // [rows, width] or null
  // Logits held at a time, 512 MiB in fp32: 1024 rows of a vocabulary of 128 Ki, which make a whole wave of tiles of dx.
  int64_t most_logits = int64_t{128} << 20;
};

// Bytes of workspace.
int64_t CrossEntropyWorkspace(const DeviceCrossEntropyCall& call);
void RunCrossEntropy(const DeviceCrossEntropyCall& call, void* workspace, cudaStream_t stream);

}  // namespace ortqlora::cuda

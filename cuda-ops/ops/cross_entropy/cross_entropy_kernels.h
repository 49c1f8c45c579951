#pragma once

#include "ops/cross_entropy/cross_entropy_cuda.h"

namespace ortqlora::cuda {

// Rows [first, first + rows) of a call, whose logits stand in `logits` [rows, classes] fp32.
struct SoftmaxRows {
  int64_t first = 0, rows = 0;
  float* logits = nullptr;
  void* slopes = nullptr;          // [rows, classes] of the call's element: the loss's gradient by the logits, or null
  float* row_losses = nullptr;     // [call.rows]
  const float* share = nullptr;    // 1 / (number of labels that count), on the device
  bool scale_slopes = false;       // whether slopes carry that share
};

// share = 1 / (number of labels other than `ignored`), or 0.
void LaunchLabelShare(const DeviceCrossEntropyCall& call, float* share, cudaStream_t stream);
void LaunchSoftmaxRows(const DeviceCrossEntropyCall& call, const SoftmaxRows& rows, cudaStream_t stream);
// loss = share * sum of row_losses
void LaunchMeanLoss(const DeviceCrossEntropyCall& call, const float* row_losses, const float* share,
                    cudaStream_t stream);
// dx = dx * share
void LaunchScaleGradient(const DeviceCrossEntropyCall& call, const float* share, cudaStream_t stream);

}  // namespace ortqlora::cuda

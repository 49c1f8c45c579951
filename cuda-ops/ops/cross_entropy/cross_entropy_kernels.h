#pragma once

#include "ops/cross_entropy/cross_entropy_cuda.h"

namespace ortqlora::cuda {

// Elements that a thread takes at once.
constexpr int64_t kLogitVector = 8;

// Rows [first, first + rows) of a call, whose logits stand in `logits` [rows, classes] fp32, aligned to 32 bytes.
struct SoftmaxRows {
  int64_t first = 0, rows = 0;
  float* logits = nullptr;
  int64_t pitch = 0;  // from row to row: a multiple of kLogitVector
  // Whether the loss's gradient by the logits takes their place: rows of the call's element, which start where those of
  // logits do.
  bool slopes = false;
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

#include "common/cuda/check.h"
#include "common/cuda/numbers.cuh"
#include "ops/cross_entropy/cross_entropy_kernels.h"

namespace ortqlora::cuda {
namespace {

constexpr int kThreads = 512;

__global__ void LabelShareKernel(const int64_t* labels, int64_t rows, int64_t ignored, float* share) {
  float count = 0;  // exact to 2^24 a thread, and fp32 holds the sum to 2^-24
  for (int64_t i = threadIdx.x; i < rows; i += kThreads) count += labels[i] != ignored ? 1.0f : 0.0f;
  count = BlockSum<kThreads>(count);
  if (threadIdx.x == 0) *share = count > 0 ? 1.0f / count : 0.0f;
}

// A block a row: the largest logit and the sum of exp in one pass, the slopes in another, in place.
template <typename T>
__global__ __launch_bounds__(kThreads) void SoftmaxRowsKernel(const DeviceCrossEntropyCall call,
                                                              const SoftmaxRows rows) {
  constexpr int kVector = static_cast<int>(kLogitVector);
  const int64_t row = blockIdx.x, label = call.labels[rows.first + row];
  float* const logits = rows.logits + row * rows.pitch;
  T* const slopes = reinterpret_cast<T*>(logits);
  const bool counts = label != call.ignored, known = label >= 0 && label < call.classes;
  if (!counts) {
    if (threadIdx.x == 0) rows.row_losses[rows.first + row] = 0;
    if (!rows.slopes) return;
    for (int64_t i = threadIdx.x; i < call.classes; i += kThreads) slopes[i] = FromFloat<T>(0.0f);
    return;
  }
  const AnyVector bias{call.bias, call.bias_element};
  // Logits from i on, which is below the number of classes; past that the lowest there are.
  const auto load = [&](int64_t i, float(&values)[kVector]) {
    const auto pack = *reinterpret_cast<const Pack<float, kVector>*>(logits + i);
#pragma unroll
    for (int v = 0; v < kVector; ++v) {
      values[v] = i + v >= call.classes ? -INFINITY
                                        : pack.values[v] + (call.bias == nullptr ? 0.0f : bias[i + v]);
    }
  };
  const float target =
      threadIdx.x == 0 && known ? logits[label] + (call.bias == nullptr ? 0.0f : bias[label]) : NAN;
  float most = -INFINITY, sum = 0;  // of this thread
  for (int64_t i = static_cast<int64_t>(threadIdx.x) * kVector; i < call.classes; i += kThreads * kVector) {
    float values[kVector];
    load(i, values);
    float largest = most;
#pragma unroll
    for (int v = 0; v < kVector; ++v) largest = fmaxf(largest, values[v]);
    // Logits of -infinity alone, or of NaN, would make their own NaN below.
    const float level = largest == -INFINITY ? 0.0f : largest;
    sum *= __expf(most - level);
#pragma unroll
    for (int v = 0; v < kVector; ++v) sum += __expf(values[v] - level);
    most = largest;
  }
  const float all = BlockMax<kThreads>(most);
  sum = BlockSum<kThreads>(most == -INFINITY ? 0.0f : sum * __expf(most - all));
  const float log_sum = all + logf(sum);
  if (threadIdx.x == 0) rows.row_losses[rows.first + row] = log_sum - target;
  if (!rows.slopes) return;
  const float factor = rows.scale_slopes ? *rows.share : 1.0f;
  // Slopes of 16 bits overtake nothing that has not been read: they end before the logits of the next round begin.
  for (int64_t first = 0; first < call.classes; first += kThreads * kVector) {
    const int64_t i = first + static_cast<int64_t>(threadIdx.x) * kVector;
    float values[kVector];
    if (i < call.classes) load(i, values);
    __syncthreads();
    if (i >= call.classes) continue;
    Pack<T, kVector> pack;
#pragma unroll
    for (int v = 0; v < kVector; ++v) {
      const float probability = __expf(values[v] - log_sum);
      pack.values[v] = FromFloat<T>(known ? factor * (probability - (i + v == label ? 1.0f : 0.0f)) : NAN);
    }
    *reinterpret_cast<Pack<T, kVector>*>(slopes + i) = pack;
  }
}

__global__ void MeanLossKernel(const float* row_losses, int64_t rows, const float* share, float* loss) {
  // Compensated sums (Kahan 1965), then one over the block.
  float sum = 0, lost = 0;
  for (int64_t i = threadIdx.x; i < rows; i += kThreads) {
    const float term = row_losses[i] - lost, next = sum + term;
    lost = (next - sum) - term;
    sum = next;
  }
  sum = BlockSum<kThreads>(sum);
  if (threadIdx.x == 0) *loss = *share == 0.0f ? 0.0f : sum * *share;
}

template <typename T>
__global__ void ScaleGradientKernel(T* dx, int64_t count, const float* share) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < count) dx[i] = FromFloat<T>(ToFloat(dx[i]) * *share);
}

}  // namespace

void LaunchLabelShare(const DeviceCrossEntropyCall& call, float* share, cudaStream_t stream) {
  LabelShareKernel<<<1, kThreads, 0, stream>>>(call.labels, call.rows, call.ignored, share);
  CheckLaunch("LabelShareKernel");
}

void LaunchSoftmaxRows(const DeviceCrossEntropyCall& call, const SoftmaxRows& rows, cudaStream_t stream) {
  WithElement(call.element, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    SoftmaxRowsKernel<T><<<static_cast<unsigned>(rows.rows), kThreads, 0, stream>>>(call, rows);
  });
  CheckLaunch("SoftmaxRowsKernel");
}

void LaunchMeanLoss(const DeviceCrossEntropyCall& call, const float* row_losses, const float* share,
                    cudaStream_t stream) {
  MeanLossKernel<<<1, kThreads, 0, stream>>>(row_losses, call.rows, share, call.loss);
  CheckLaunch("MeanLossKernel");
}

void LaunchScaleGradient(const DeviceCrossEntropyCall& call, const float* share, cudaStream_t stream) {
  const int64_t count = call.rows * call.width;
  WithElement(call.element, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    ScaleGradientKernel<T><<<static_cast<unsigned>(CeilDiv(count, kThreads)), kThreads, 0, stream>>>(
        static_cast<T*>(call.dx), count, share);
  });
  CheckLaunch("ScaleGradientKernel");
}

}  // namespace ortqlora::cuda

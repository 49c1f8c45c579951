#include "common/cuda/check.h"
#include "common/cuda/numbers.cuh"
#include "ops/attention/cuda/masked_scores.cuh"

namespace ortqlora::cuda {
namespace {

constexpr int kThreads = 256, kLanes = 8;

// Eight threads a query.
template <typename T>
__global__ void RowStatisticsKernel(const AttentionArguments call, const float* lse, float* log_sum,
                                    float* delta) {
  const int query = (blockIdx.x * kThreads + threadIdx.x) / kLanes, lane = threadIdx.x % kLanes;
  const int head = blockIdx.y, batch = blockIdx.z;
  if (query >= call.padded_queries) return;
  const int64_t row = static_cast<int64_t>(batch) * call.heads + head;
  float sum = 0.0f, value = -NegativeInfinity();
  if (query < call.queries) {
    const int64_t at =
        batch * call.y_strides.batch + head * call.y_strides.head + query * call.y_strides.position;
    const T* const y = static_cast<const T*>(call.y) + at;
    const T* const dy = static_cast<const T*>(call.dy) + at;
    constexpr int kVector = 16 / sizeof(T);
    if (call.wide) {
      for (int i = lane * kVector; i < call.value_size; i += kLanes * kVector) {
        const auto a = *reinterpret_cast<const Pack<T, kVector>*>(y + i);
        const auto b = *reinterpret_cast<const Pack<T, kVector>*>(dy + i);
#pragma unroll
        for (int e = 0; e < kVector; ++e) sum += ToFloat(a.values[e]) * ToFloat(b.values[e]);
      }
    } else {
      for (int i = lane; i < call.value_size; i += kLanes) sum += ToFloat(y[i]) * ToFloat(dy[i]);
    }
    const float given = lse[row * call.queries + query];
    value = given > kMaskedScore || isnan(given) ? given * kLog2E
            : given == NegativeInfinity()        ? -given
                                                 : kUniform;
  }
#pragma unroll
  for (int lanes = kLanes / 2; lanes > 0; lanes >>= 1) sum += __shfl_xor_sync(0xFFFFFFFFu, sum, lanes);
  if (lane != 0) return;
  log_sum[row * call.padded_queries + query] = value;
  delta[row * call.padded_queries + query] = sum;
}

}  // namespace

template <typename T>
void LaunchRowStatistics(const AttentionArguments& call, const float* lse, float* log_sum, float* delta,
                         cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(CeilDiv(call.padded_queries, kThreads / kLanes)),
                  static_cast<unsigned>(call.heads), static_cast<unsigned>(call.batch));
  RowStatisticsKernel<T><<<grid, kThreads, 0, stream>>>(call, lse, log_sum, delta);
  CheckLaunch("RowStatisticsKernel");
}

template void LaunchRowStatistics<float>(const AttentionArguments&, const float*, float*, float*,
                                         cudaStream_t);
template void LaunchRowStatistics<__half>(const AttentionArguments&, const float*, float*, float*,
                                          cudaStream_t);
template void LaunchRowStatistics<__nv_bfloat16>(const AttentionArguments&, const float*, float*, float*,
                                                 cudaStream_t);

}  // namespace ortqlora::cuda

#include <algorithm>

#include "common/cuda/check.h"
#include "common/cuda/numbers.cuh"
#include "ops/adamw/adamw_cuda.h"

namespace ortqlora::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMostBlocks = 1024;  // parts of a sum, see kSquaredNormBytes

struct Moments {
  float rate, keep, first_correction, second_correction, factor;
};

__device__ __forceinline__ void Update(const AdamWCall& call, const Moments& at, float g, float& p, float& m,
                                       float& v) {
  const float grad = g * at.factor;
  m = fmaf(call.beta1, m, (1.0f - call.beta1) * grad);
  v = fmaf(call.beta2, v, (1.0f - call.beta2) * grad * grad);
  const float direction = m * at.first_correction / (sqrtf(v * at.second_correction) + call.epsilon);
  p = fmaf(-at.rate, direction, p * at.keep);
}

template <int kVector>
__global__ void AdamWKernel(const AdamWCall call) {
  const double step = static_cast<double>(*call.step);
  const Moments at{*call.rate, 1.0f - *call.rate * call.weight_decay,
                   static_cast<float>(1.0 / (1.0 - pow(static_cast<double>(call.beta1), step))),
                   static_cast<float>(1.0 / (1.0 - pow(static_cast<double>(call.beta2), step))),
                   call.factor == nullptr ? 1.0f : *call.factor};
  using Values = Pack<float, kVector>;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kThreads * kVector;
  for (int64_t i = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * kVector; i < call.count;
       i += stride) {
    Values p = *reinterpret_cast<const Values*>(call.p + i), m = *reinterpret_cast<const Values*>(call.m + i);
    Values v = *reinterpret_cast<const Values*>(call.v + i);
    const Values g = *reinterpret_cast<const Values*>(call.g + i);
#pragma unroll
    for (int j = 0; j < kVector; ++j) Update(call, at, g.values[j], p.values[j], m.values[j], v.values[j]);
    *reinterpret_cast<Values*>(call.new_p + i) = p;
    *reinterpret_cast<Values*>(call.new_m + i) = m;
    *reinterpret_cast<Values*>(call.new_v + i) = v;
  }
}

// The sum over a block in float64, in thread 0.
__device__ double BlockSumOfDoubles(double value) {
  __shared__ double partial[kThreads];
  partial[threadIdx.x] = value;
  __syncthreads();
  for (int half = kThreads / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) partial[threadIdx.x] += partial[threadIdx.x + half];
    __syncthreads();
  }
  return partial[0];
}

__global__ void SquaredNormKernel(const float* x, int64_t count, double* parts) {
  double sum = 0;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < count; i += stride) {
    sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  }
  sum = BlockSumOfDoubles(sum);
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

__global__ void AddPartsKernel(const double* parts, int count, double* y) {
  double sum = 0;
  for (int i = threadIdx.x; i < count; i += kThreads) sum += parts[i];
  sum = BlockSumOfDoubles(sum);
  if (threadIdx.x == 0) *y = sum;
}

unsigned Blocks(int64_t count, int per_thread) {
  return static_cast<unsigned>(
      std::max<int64_t>(1, std::min(kMostBlocks, CeilDiv(count, kThreads * per_thread))));
}

}  // namespace

void LaunchAdamW(const AdamWCall& call, cudaStream_t stream) {
  if (call.count == 0) return;
  const void* const arrays[] = {call.p, call.g, call.m, call.v, call.new_p, call.new_m, call.new_v};
  const bool wide =
      call.count % 4 == 0 && std::all_of(std::begin(arrays), std::end(arrays), [](const void* array) {
        return reinterpret_cast<uintptr_t>(array) % 16 == 0;
      });
  const auto kernel = wide ? AdamWKernel<4> : AdamWKernel<1>;
  kernel<<<Blocks(call.count, wide ? 4 : 1), kThreads, 0, stream>>>(call);
  CheckLaunch("AdamWKernel");
}

void LaunchSquaredNorm(const float* x, int64_t count, double* y, void* workspace, cudaStream_t stream) {
  auto* parts = static_cast<double*>(workspace);
  const unsigned blocks = Blocks(count, 4);
  SquaredNormKernel<<<blocks, kThreads, 0, stream>>>(x, count, parts);
  CheckLaunch("SquaredNormKernel");
  AddPartsKernel<<<1, kThreads, 0, stream>>>(parts, static_cast<int>(blocks), y);
  CheckLaunch("AddPartsKernel");
}

}  // namespace ortqlora::cuda

#pragma once

// Conversions and reductions that kernels of several ops share.

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

#include "common/cuda/element.h"

namespace ortqlora::cuda {

__device__ __forceinline__ float ToFloat(float value) { return value; }
__device__ __forceinline__ float ToFloat(__half value) { return __half2float(value); }
__device__ __forceinline__ float ToFloat(__nv_bfloat16 value) { return __bfloat162float(value); }

template <typename T>
__device__ __forceinline__ T FromFloat(float value);
template <>
__device__ __forceinline__ float FromFloat<float>(float value) {
  return value;
}
template <>
__device__ __forceinline__ __half FromFloat<__half>(float value) {
  return __float2half_rn(value);
}
template <>
__device__ __forceinline__ __nv_bfloat16 FromFloat<__nv_bfloat16>(float value) {
  return __float2bfloat16_rn(value);
}

// Calls launch(T*) with null of the element's type.
template <typename Launch>
void WithElement(Element element, const Launch& launch) {
  switch (element) {
    case Element::kFloat:
      return launch(static_cast<float*>(nullptr));
    case Element::kHalf:
      return launch(static_cast<__half*>(nullptr));
    case Element::kBfloat16:
      return launch(static_cast<__nv_bfloat16*>(nullptr));
  }
}

// The same for data of that type.
template <typename Launch>
void WithElement(Element element, const void* data, const Launch& launch) {
  WithElement(element, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    launch(static_cast<const T*>(data));
  });
}

// A small tensor of any of the types, such as the weight of a norm.
struct AnyVector {
  const void* data;
  Element element;

  __device__ __forceinline__ float operator[](int64_t i) const {
    if (element == Element::kFloat) return static_cast<const float*>(data)[i];
    if (element == Element::kHalf) return __half2float(static_cast<const __half*>(data)[i]);
    return __bfloat162float(static_cast<const __nv_bfloat16*>(data)[i]);
  }
};

// Elements that move together; `alignas` makes the compiler load them at once.
template <typename T, int kCount>
struct alignas(sizeof(T) * kCount) Pack {
  T values[kCount];
};

__device__ __forceinline__ float WarpSum(float value) {
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes >>= 1) value += __shfl_xor_sync(0xFFFFFFFFu, value, lanes);
  return value;
}

__device__ __forceinline__ float WarpMax(float value) {
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes >>= 1)
    value = fmaxf(value, __shfl_xor_sync(0xFFFFFFFFu, value, lanes));
  return value;
}

// Sum over a block of at most 1024 threads, the same in every thread and every run.
template <int kThreads>
__device__ __forceinline__ float BlockSum(float value) {
  constexpr int kWarps = kThreads / 32;
  __shared__ float partial[kWarps];
  value = WarpSum(value);
  __syncthreads();  // the last use of `partial` is over
  if ((threadIdx.x & 31) == 0) partial[threadIdx.x >> 5] = value;
  __syncthreads();
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kWarps; ++i) sum += partial[i];
  return sum;
}

template <int kThreads>
__device__ __forceinline__ float BlockMax(float value) {
  constexpr int kWarps = kThreads / 32;
  __shared__ float partial[kWarps];
  value = WarpMax(value);
  __syncthreads();
  if ((threadIdx.x & 31) == 0) partial[threadIdx.x >> 5] = value;
  __syncthreads();
  float most = partial[0];
#pragma unroll
  for (int i = 1; i < kWarps; ++i) most = fmaxf(most, partial[i]);
  return most;
}

}  // namespace ortqlora::cuda

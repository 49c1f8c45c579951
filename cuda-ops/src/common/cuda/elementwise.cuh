#pragma once

// Elementwise kernels: a functor from kIn floats to kOut floats over arrays of one type, 16 bytes at a time.

#include <algorithm>

#include "common/cuda/check.h"
#include "common/cuda/numbers.cuh"

namespace ortqlora::cuda {

template <typename T, int kIn, int kOut>
struct ElementwiseArrays {
  const T* in[kIn];
  T* out[kOut];
};

template <typename T, int kIn, int kOut, int kVector, typename Function>
__global__ void ElementwiseKernel(const ElementwiseArrays<T, kIn, kOut> arrays, int64_t count,
                                  Function function) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x * kVector;
  for (int64_t i = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * kVector; i < count;
       i += stride) {
    Pack<T, kVector> in[kIn], out[kOut];
#pragma unroll
    for (int a = 0; a < kIn; ++a) in[a] = *reinterpret_cast<const Pack<T, kVector>*>(arrays.in[a] + i);
#pragma unroll
    for (int v = 0; v < kVector; ++v) {
      float from[kIn], to[kOut];
#pragma unroll
      for (int a = 0; a < kIn; ++a) from[a] = ToFloat(in[a].values[v]);
      function(from, to);
#pragma unroll
      for (int a = 0; a < kOut; ++a) out[a].values[v] = FromFloat<T>(to[a]);
    }
#pragma unroll
    for (int a = 0; a < kOut; ++a) *reinterpret_cast<Pack<T, kVector>*>(arrays.out[a] + i) = out[a];
  }
}

// `name` is what an error calls the kernel.
template <int kIn, int kOut, typename Function>
void LaunchElementwise(const char* name, Element element, const void* const (&in)[kIn],
                       void* const (&out)[kOut], int64_t count, const Function& function,
                       cudaStream_t stream) {
  if (count == 0) return;
  constexpr int kThreads = 256;
  constexpr int64_t kMostBlocks = 16384;
  WithElement(element, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    constexpr int kWide = 16 / sizeof(T);
    ElementwiseArrays<T, kIn, kOut> arrays;
    bool wide = count % kWide == 0;
    for (int i = 0; i < kIn; ++i) {
      arrays.in[i] = static_cast<const T*>(in[i]);
      wide = wide && reinterpret_cast<uintptr_t>(in[i]) % 16 == 0;
    }
    for (int i = 0; i < kOut; ++i) {
      arrays.out[i] = static_cast<T*>(out[i]);
      wide = wide && reinterpret_cast<uintptr_t>(out[i]) % 16 == 0;
    }
    const auto blocks =
        static_cast<unsigned>(std::min(kMostBlocks, CeilDiv(count, kThreads * (wide ? kWide : 1))));
    const auto kernel = wide ? ElementwiseKernel<T, kIn, kOut, kWide, Function>
                             : ElementwiseKernel<T, kIn, kOut, 1, Function>;
    kernel<<<blocks, kThreads, 0, stream>>>(arrays, count, function);
  });
  CheckLaunch(name);
}

}  // namespace ortqlora::cuda

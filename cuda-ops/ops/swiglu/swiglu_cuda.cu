#include "common/cuda/elementwise.cuh"
#include "ops/swiglu/swiglu_cuda.h"

namespace ortqlora::cuda {
namespace {

__device__ __forceinline__ float Sigmoid(float x) { return 1.0f / (1.0f + __expf(-x)); }

struct SwiGluValue {
  __device__ __forceinline__ void operator()(const float (&in)[2], float (&out)[1]) const {
    out[0] = in[0] * Sigmoid(in[0]) * in[1];
  }
};

struct SwiGluSlopes {
  __device__ __forceinline__ void operator()(const float (&in)[3], float (&out)[2]) const {
    const float dy = in[0], gate = in[1], up = in[2], s = Sigmoid(gate);
    out[0] = dy * up * s * (1.0f + gate * (1.0f - s));
    out[1] = dy * gate * s;
  }
};

}  // namespace

void LaunchSwiGlu(Element element, const void* gate, const void* up, int64_t count, void* y,
                  cudaStream_t stream) {
  LaunchElementwise<2, 1>("SwiGluKernel", element, {gate, up}, {y}, count, SwiGluValue(), stream);
}

void LaunchSwiGluGrad(Element element, const void* dy, const void* gate, const void* up, int64_t count,
                      void* dgate, void* dup, cudaStream_t stream) {
  LaunchElementwise<3, 2>("SwiGluGradKernel", element, {dy, gate, up}, {dgate, dup}, count, SwiGluSlopes(),
                          stream);
}

}  // namespace ortqlora::cuda

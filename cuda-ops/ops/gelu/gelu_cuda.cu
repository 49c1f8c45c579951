#include "common/cuda/elementwise.cuh"
#include "ops/gelu/gelu_cuda.h"

namespace ortqlora::cuda {
namespace {

struct GeluErf {
  static __device__ __forceinline__ float Probability(float x) { return normcdff(x); }
  static __device__ __forceinline__ float Slope(float x) {
    return Probability(x) + x * 0.39894228040143268f * __expf(-0.5f * x * x);
  }
};

struct GeluTanh {
  static __device__ __forceinline__ float Tanh(float x) {
    return tanhf(0.79788456080286536f * x * (1.0f + 0.044715f * x * x));
  }
  static __device__ __forceinline__ float Probability(float x) { return 0.5f + 0.5f * Tanh(x); }
  static __device__ __forceinline__ float Slope(float x) {
    // Bounded, so that it times 0 is 0 at the ends.
    const float square = fminf(x * x, 1e10f);
    const float t = Tanh(x), angle_slope = 0.79788456080286536f * (1.0f + 3 * 0.044715f * square);
    return 0.5f + 0.5f * t + 0.5f * x * (1.0f - t * t) * angle_slope;
  }
};

template <class Form>
struct GeluValue {
  __device__ __forceinline__ void operator()(const float (&in)[1], float (&out)[1]) const {
    out[0] = in[0] * Form::Probability(in[0]);
  }
};

template <class Form>
struct GeluSlope {
  __device__ __forceinline__ void operator()(const float (&in)[2], float (&out)[1]) const {
    out[0] = in[0] * Form::Slope(in[1]);
  }
};

}  // namespace

void LaunchGelu(Element element, bool tanh, const void* x, int64_t count, void* y, cudaStream_t stream) {
  if (tanh)
    return LaunchElementwise<1, 1>("GeluKernel", element, {x}, {y}, count, GeluValue<GeluTanh>(), stream);
  LaunchElementwise<1, 1>("GeluKernel", element, {x}, {y}, count, GeluValue<GeluErf>(), stream);
}

void LaunchGeluGrad(Element element, bool tanh, const void* dy, const void* x, int64_t count, void* dx,
                    cudaStream_t stream) {
  if (tanh) {
    return LaunchElementwise<2, 1>("GeluGradKernel", element, {dy, x}, {dx}, count, GeluSlope<GeluTanh>(),
                                   stream);
  }
  LaunchElementwise<2, 1>("GeluGradKernel", element, {dy, x}, {dx}, count, GeluSlope<GeluErf>(), stream);
}

}  // namespace ortqlora::cuda

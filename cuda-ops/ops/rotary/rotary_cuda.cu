#include "common/cuda/check.h"
#include "common/cuda/numbers.cuh"
#include "ops/rotary/rotary_cuda.h"

namespace ortqlora::cuda {
namespace {

constexpr int kThreads = 256;

// A thread a feature; its partner is half a rotation away, in the same cache lines.
template <typename T>
__global__ void RotaryKernel(const RotaryCall call, int64_t count) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= count) return;
  const auto* x = static_cast<const T*>(call.x);
  const int64_t row = i / call.size, feature = i - row * call.size, half = call.turned / 2;
  float value = ToFloat(x[i]);
  if (feature < call.turned) {
    const int64_t position = (call.sequence_first ? row / call.heads : row) % call.sequence;
    const int64_t table = call.batched ? row / (call.heads * call.sequence) * call.sequence : 0;
    const AnyVector cos{call.cos, call.angle_element}, sin{call.sin, call.angle_element};
    const int64_t angle = (table + position) * call.turned;
    const bool first = feature < half;
    const int64_t partner = first ? feature + half : feature - half;
    const float other = ToFloat(x[i - feature + partner]);
    // turn([a, b]) = [-b, a]; its transpose turns the product with sin, at the partner's angle, the other
    // way.
    const float turned = call.gradient ? other * sin[angle + partner] : other * sin[angle + feature];
    value = value * cos[angle + feature] + (first == call.gradient ? turned : -turned);
  }
  static_cast<T*>(call.y)[i] = FromFloat<T>(value);
}

}  // namespace

void LaunchRotary(const RotaryCall& call, cudaStream_t stream) {
  const int64_t count = call.batch * call.heads * call.sequence * call.size;
  if (count == 0) return;
  WithElement(call.element, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    RotaryKernel<T><<<static_cast<unsigned>(CeilDiv(count, kThreads)), kThreads, 0, stream>>>(call, count);
  });
  CheckLaunch("RotaryKernel");
}

}  // namespace ortqlora::cuda

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

// The same for tables in fp32 and 16 bytes at a time: a thread takes kVector features of the first half with their partners,
// or kVector features that are not turned.
template <typename T, int kVector>
__global__ void WideRotaryKernel(const RotaryCall call, int64_t count) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= count) return;
  const int turned = static_cast<int>(call.turned), half = turned / 2;
  const int pairs = half / kVector, parts = (static_cast<int>(call.size) - half) / kVector;  // of a row
  const int64_t row = i / parts;
  const int part = static_cast<int>(i - row * parts);
  const T* const x = static_cast<const T*>(call.x) + row * call.size;
  T* const y = static_cast<T*>(call.y) + row * call.size;
  using Values = Pack<T, kVector>;
  if (part >= pairs) {
    const int feature = half + part * kVector;
    *reinterpret_cast<Values*>(y + feature) = *reinterpret_cast<const Values*>(x + feature);
    return;
  }
  const int64_t position = (call.sequence_first ? row / call.heads : row) % call.sequence;
  const int64_t table = call.batched ? row / (call.heads * call.sequence) * call.sequence : 0;
  const int feature = part * kVector;
  const int64_t angle = (table + position) * turned + feature;
  const float* const cos = static_cast<const float*>(call.cos) + angle;
  const float* const sin = static_cast<const float*>(call.sin) + angle;
  const Values first = *reinterpret_cast<const Values*>(x + feature);
  const Values second = *reinterpret_cast<const Values*>(x + feature + half);
  Values low, high;
#pragma unroll
  for (int q = 0; q < kVector; q += 4) {
    using Angles = Pack<float, 4>;
    const Angles low_cos = *reinterpret_cast<const Angles*>(cos + q), low_sin = *reinterpret_cast<const Angles*>(sin + q);
    const Angles high_cos = *reinterpret_cast<const Angles*>(cos + q + half);
    const Angles high_sin = *reinterpret_cast<const Angles*>(sin + q + half);
#pragma unroll
    for (int v = 0; v < 4; ++v) {
      const float a = ToFloat(first.values[q + v]), b = ToFloat(second.values[q + v]);
      // turn([a, b]) = [-b, a]; its transpose turns the products with sin the other way.
      low.values[q + v] = FromFloat<T>(call.gradient ? fmaf(a, low_cos.values[v], b * high_sin.values[v])
                                                     : fmaf(a, low_cos.values[v], -b * low_sin.values[v]));
      high.values[q + v] = FromFloat<T>(call.gradient ? fmaf(b, high_cos.values[v], -a * low_sin.values[v])
                                                      : fmaf(b, high_cos.values[v], a * high_sin.values[v]));
    }
  }
  *reinterpret_cast<Values*>(y + feature) = low;
  *reinterpret_cast<Values*>(y + feature + half) = high;
}

// Whether the wide kernel can take a call.
template <typename T>
bool IsWide(const RotaryCall& call) {
  constexpr int kVector = 16 / sizeof(T);
  const auto aligned = [](const void* data) { return reinterpret_cast<uintptr_t>(data) % 16 == 0; };
  return call.angle_element == Element::kFloat && call.turned / 2 % kVector == 0 && call.size % kVector == 0 &&
         aligned(call.x) && aligned(call.y) && aligned(call.cos) && aligned(call.sin);
}

}  // namespace

void LaunchRotary(const RotaryCall& call, cudaStream_t stream) {
  const int64_t count = call.batch * call.heads * call.sequence * call.size;
  if (count == 0) return;
  WithElement(call.element, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    if (IsWide<T>(call)) {
      constexpr int kVector = 16 / sizeof(T);
      const int64_t threads = count / call.size * ((call.size - call.turned / 2) / kVector);
      WideRotaryKernel<T, kVector>
          <<<static_cast<unsigned>(CeilDiv(threads, kThreads)), kThreads, 0, stream>>>(call, threads);
      return;
    }
    RotaryKernel<T><<<static_cast<unsigned>(CeilDiv(count, kThreads)), kThreads, 0, stream>>>(call, count);
  });
  CheckLaunch("RotaryKernel");
}

}  // namespace ortqlora::cuda

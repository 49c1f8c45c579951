#include "common/cuda/check.h"
#include "common/cuda/convert_elements.h"
#include "common/cuda/numbers.cuh"

namespace ortqlora::cuda {
namespace {

constexpr int kThreads = 256;

template <typename From, typename To>
__global__ void ConvertKernel(const From* from, To* to, int64_t count) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < count) to[i] = FromFloat<To>(ToFloat(from[i]));
}

}  // namespace

void LaunchConvert(Element from_element, const void* from, Element to_element, void* to, int64_t count,
                   cudaStream_t stream) {
  if (count == 0) return;
  WithElement(from_element, from, [&](const auto* source) {
    WithElement(to_element, [&](auto* type) {
      using To = std::remove_pointer_t<decltype(type)>;
      const auto blocks = static_cast<unsigned>(CeilDiv(count, kThreads));
      ConvertKernel<<<blocks, kThreads, 0, stream>>>(source, static_cast<To*>(to), count);
    });
  });
  CheckLaunch("ConvertKernel");
}

}  // namespace ortqlora::cuda

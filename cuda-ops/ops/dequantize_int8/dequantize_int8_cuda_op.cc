#include "ops/dequantize_int8/dequantize_int8_cuda_op.h"

#include "ops/dequantize_int8/dequantize_int8_cuda.h"

namespace ortqlora::cuda {
namespace {

constexpr size_t kWeight = 0, kScale = 1;

}  // namespace

template <Element kElement>
DequantizeInt8<kElement>::DequantizeInt8(const KernelInfo& info) : weight_(info, kWeight, kScale) {}

template <Element kElement>
void DequantizeInt8<kElement>::Compute(KernelContext& context) const {
  const WeightAttributes& attributes = weight_.attributes();
  void* out = context.Output(0, {attributes.k, attributes.n});
  const ScratchMemory scratch = context.Scratch(static_cast<size_t>(weight_.scratch()));
  const DeviceQuantizedWeight::Ready ready = weight_.Get(context, scratch.data(), context.Stream());
  LaunchDequantize(ready.blocks, ready.scale.scale, kElement, out,
                   static_cast<cudaStream_t>(context.Stream()));
}

template class DequantizeInt8<Element::kFloat>;
template class DequantizeInt8<Element::kHalf>;
template class DequantizeInt8<Element::kBfloat16>;

}  // namespace ortqlora::cuda

#include "ops/dequantize_int8/dequantize_int8.h"

#include "ops/dequantize_int8/dequantize_int8_cpu.h"

namespace ortqlora {
namespace {

constexpr size_t kWeight = 0, kScale = 1;

}  // namespace

template <Element kElement>
DequantizeInt8<kElement>::DequantizeInt8(const KernelInfo& info) : attributes_(info) {
  CheckWeight(attributes_, info.Input(kWeight));
  CheckVector("scale", attributes_.n, info.Input(kScale));
}

template <Element kElement>
void DequantizeInt8<kElement>::Compute(KernelContext& context) const {
  const TensorView q = context.Input(kWeight), scale = context.Input(kScale);
  CheckWeight(attributes_, q.info);
  CheckVector("scale", attributes_.n, scale.info);
  void* out = context.Output(0, {attributes_.k, attributes_.n});
  Dequantize(SourceOf(attributes_, q), FloatVector(scale).data(), kElement, out, context);
}

template <Element kElement>
void DequantizeInt8<kElement>::InferShapes(ShapeInference& shapes) {
  const int64_t k = shapes.Integer("K"), n = shapes.Integer("N");
  if (k >= 0 && n >= 0) shapes.SetOutput(0, shapes.InputType(kScale), {{k, ""}, {n, ""}});
}

template class DequantizeInt8<Element::kFloat>;
template class DequantizeInt8<Element::kHalf>;

}  // namespace ortqlora

#include "ops/normalization/normalization.h"

#include "common/error.h"
#include "common/shape_check.h"
#include "ops/normalization/normalization_cpu.h"

namespace ortqlora {
namespace {

constexpr ElementType kFloat = ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;

float Epsilon(const KernelInfo& info) {
  const float epsilon = info.Float("epsilon");
  if (!(epsilon >= 0)) Fail("attribute epsilon is ", epsilon, ", expected a number of at least 0.");
  return epsilon;
}

// The size D of rows, -1 where x does not show it.
int64_t CheckRows(const TensorInfo& x, const TensorInfo& weight) {
  const int64_t width = x.has_shape && !x.shape.empty() ? x.shape.back() : -1;
  if (x.has_shape && x.shape.empty()) Fail("x is a scalar, expected [..., D].");
  CheckShape("weight", weight, {width});
  return width;
}

NormRows SizeOf(const TensorInfo& x) { return {LeadingSize(x), x.shape.back()}; }

void CheckStatistics(const char* name, const TensorInfo& statistics, const TensorInfo& x) {
  CheckLastDimension(name, "1", 1, statistics);
  if (!statistics.fully_known() || !x.fully_known() || LeadingSize(statistics) == LeadingSize(x)) return;
  Fail(name, " has the shape ", ShapeText(statistics.shape), ", expected a number for each row of x ",
       ShapeText(x.shape), ".");
}

void CheckGradient(const TensorInfo& dy, const TensorInfo& x, const TensorInfo& weight) {
  CheckSameShape("dy", dy, "x", x);
  CheckRows(x, weight);
}

std::vector<int64_t> StatisticsShape(const TensorInfo& x) {
  std::vector<int64_t> shape = x.shape;
  shape.back() = 1;
  return shape;
}

// Outputs from the first: y like x, statistics like x with last dimension 1.
void InferNorm(ShapeInference& shapes, size_t statistics) {
  auto shape = shapes.Input(0);
  if (!shape.has_value()) return;
  shapes.SetOutput(0, shapes.InputType(0), *shape);
  shape->back() = {1, ""};
  for (size_t i = 1; i <= statistics; ++i) shapes.SetOutput(i, kFloat, *shape);
}

void InferGradient(ShapeInference& shapes) {
  if (const auto shape = shapes.Input(0)) shapes.SetOutput(0, shapes.InputType(0), *shape);
}

}  // namespace

RmsNorm::RmsNorm(const KernelInfo& info) : kernels_(SimdKernelsOf(SelectCpuPath())), epsilon_(Epsilon(info)) {
  CheckRows(info.Input(0), info.Input(1));
}

void RmsNorm::Compute(KernelContext& context) const {
  const TensorView x = context.Input(0), weight = context.Input(1);
  CheckRows(x.info, weight.info);
  auto* const y = static_cast<float*>(context.Output(0, x.info.shape));
  auto* const inv = static_cast<float*>(context.Output(1, StatisticsShape(x.info)));
  RmsNormForward(kernels_, SizeOf(x.info), x.As<float>(), weight.As<float>(), epsilon_, y, inv, context);
}

void RmsNorm::InferShapes(ShapeInference& shapes) { InferNorm(shapes, 1); }

RmsNormGrad::RmsNormGrad(const KernelInfo& info) : kernels_(SimdKernelsOf(SelectCpuPath())) {
  CheckGradient(info.Input(0), info.Input(1), info.Input(2));
  CheckStatistics("inv", info.Input(3), info.Input(1));
}

void RmsNormGrad::Compute(KernelContext& context) const {
  const TensorView dy = context.Input(0), x = context.Input(1), weight = context.Input(2),
                   inv = context.Input(3);
  CheckGradient(dy.info, x.info, weight.info);
  CheckStatistics("inv", inv.info, x.info);
  const TensorView addend = context.Input(4);
  if (addend.data != nullptr) CheckSameShape("addend", addend.info, "x", x.info);
  auto* const dx = static_cast<float*>(context.Output(0, x.info.shape));
  auto* const dweight = static_cast<float*>(context.OptionalOutput(1, weight.info.shape));
  RmsNormBackward(kernels_, SizeOf(x.info), dy.As<float>(), x.As<float>(), weight.As<float>(),
                  inv.As<float>(), addend.As<float>(), dx, dweight, context);
}

void RmsNormGrad::InferShapes(ShapeInference& shapes) { InferGradient(shapes); }

LayerNorm::LayerNorm(const KernelInfo& info)
    : kernels_(SimdKernelsOf(SelectCpuPath())), epsilon_(Epsilon(info)) {
  CheckShape("bias", info.Input(2), {CheckRows(info.Input(0), info.Input(1))});
}

void LayerNorm::Compute(KernelContext& context) const {
  const TensorView x = context.Input(0), weight = context.Input(1), bias = context.Input(2);
  const int64_t width = CheckRows(x.info, weight.info);
  if (bias.data != nullptr) CheckShape("bias", bias.info, {width});
  auto* const y = static_cast<float*>(context.Output(0, x.info.shape));
  auto* const mean = static_cast<float*>(context.Output(1, StatisticsShape(x.info)));
  auto* const inv = static_cast<float*>(context.Output(2, StatisticsShape(x.info)));
  LayerNormForward(kernels_, SizeOf(x.info), x.As<float>(), weight.As<float>(), bias.As<float>(), epsilon_, y,
                   mean, inv, context);
}

void LayerNorm::InferShapes(ShapeInference& shapes) { InferNorm(shapes, 2); }

LayerNormGrad::LayerNormGrad(const KernelInfo& info) : kernels_(SimdKernelsOf(SelectCpuPath())) {
  CheckGradient(info.Input(0), info.Input(1), info.Input(2));
  CheckStatistics("mean", info.Input(3), info.Input(1));
  CheckStatistics("inv", info.Input(4), info.Input(1));
}

void LayerNormGrad::Compute(KernelContext& context) const {
  const TensorView dy = context.Input(0), x = context.Input(1), weight = context.Input(2);
  const TensorView mean = context.Input(3), inv = context.Input(4);
  CheckGradient(dy.info, x.info, weight.info);
  CheckStatistics("mean", mean.info, x.info);
  CheckStatistics("inv", inv.info, x.info);
  const TensorView addend = context.Input(5);
  if (addend.data != nullptr) CheckSameShape("addend", addend.info, "x", x.info);
  auto* const dx = static_cast<float*>(context.Output(0, x.info.shape));
  auto* const dweight = static_cast<float*>(context.OptionalOutput(1, weight.info.shape));
  auto* const dbias = static_cast<float*>(context.OptionalOutput(2, weight.info.shape));
  LayerNormBackward(kernels_, SizeOf(x.info), dy.As<float>(), x.As<float>(), weight.As<float>(),
                    mean.As<float>(), inv.As<float>(), addend.As<float>(), dx, dweight, dbias, context);
}

void LayerNormGrad::InferShapes(ShapeInference& shapes) { InferGradient(shapes); }

}  // namespace ortqlora

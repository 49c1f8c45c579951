#include "ops/lora_linear/lora_linear.h"

#include "common/error.h"
#include "common/shape_check.h"

namespace ortqlora {
namespace {

namespace forward {
constexpr size_t kX = 0, kWeight = 1, kScale = 2, kA = 3, kB = 4, kBias = 5, kAddend = 6;
}
namespace gradient {
constexpr size_t kOutputGradient = 0, kX = 1, kNarrow = 2, kWeight = 3, kScale = 4, kA = 5, kB = 6;
constexpr size_t kInputAddend = 7, kAAddend = 8, kBAddend = 9;
}  // namespace gradient

LoraLinearKernel MakeKernel(const KernelInfo& info) {
  return LoraLinearKernel(SelectCpuPath(), ParseCompute(info.String("compute", "auto")));
}

// Checks A and B, and returns the rank; -1 where neither shows it.
int64_t CheckBranch(const WeightAttributes& attributes, const TensorInfo& a, const TensorInfo& b) {
  CheckShape("A", a, {-1, attributes.k});
  const int64_t rank = a.has_shape ? a.shape[0] : -1;
  CheckShape("B", b, {attributes.n, rank});
  return rank >= 0 ? rank : b.has_shape ? b.shape[1] : -1;
}

LoraWeights MakeWeights(const QuantizedWeight::Ready& base, const TensorView& a, const TensorView& b,
                        float scaling) {
  LoraWeights weights;
  weights.weight = base.weight.get();
  weights.scale = base.scale;
  weights.a = a.As<float>();
  weights.b = b.As<float>();
  weights.rank = a.info.shape[0];
  weights.scaling = scaling;
  return weights;
}

void SetLastDimension(ShapeInference& shapes, size_t like, size_t output,
                      const ShapeInference::Dimension& last) {
  auto shape = shapes.Input(like);
  if (!shape.has_value()) return;
  shape->back() = last;
  shapes.SetOutput(output, shapes.InputType(0), *shape);
}

}  // namespace

LoraLinear::LoraLinear(const KernelInfo& info)
    : weight_(info, forward::kWeight, forward::kScale),
      scaling_(info.Float("scaling")),
      kernel_(MakeKernel(info)) {
  const WeightAttributes& attributes = weight_.attributes();
  CheckLastDimension("x", "K", attributes.k, info.Input(forward::kX));
  CheckBranch(attributes, info.Input(forward::kA), info.Input(forward::kB));
  CheckShape("bias", info.Input(forward::kBias), {attributes.n});
}

void LoraLinear::Compute(KernelContext& context) const {
  const WeightAttributes& attributes = weight_.attributes();
  const TensorView x = context.Input(forward::kX), a = context.Input(forward::kA),
                   b = context.Input(forward::kB);
  const TensorView bias = context.Input(forward::kBias);
  CheckLastDimension("x", "K", attributes.k, x.info);
  const int64_t rank = CheckBranch(attributes, a.info, b.info);
  if (bias.data != nullptr) CheckShape("bias", bias.info, {attributes.n});

  std::vector<int64_t> shape = x.info.shape;
  shape.back() = attributes.n;
  const TensorView addend = context.Input(forward::kAddend);
  if (addend.data != nullptr) {
    TensorInfo expected = x.info;
    expected.shape = shape;
    CheckSameShape("addend", addend.info, "y", expected);
  }
  auto* const y = static_cast<float*>(context.Output(0, shape));
  shape.back() = rank;
  auto* const h = static_cast<float*>(context.Output(1, shape));
  const QuantizedWeight::Ready base = weight_.Get(context);
  kernel_.Forward(MakeWeights(base, a, b, scaling_), x.As<float>(), LeadingSize(x.info), bias.As<float>(),
                  addend.As<float>(), y, h, context);
}

void LoraLinear::InferShapes(ShapeInference& shapes) {
  const int64_t n = shapes.Integer("N");
  if (n >= 0) SetLastDimension(shapes, forward::kX, 0, {n, ""});
  if (const auto a = shapes.Input(forward::kA)) SetLastDimension(shapes, forward::kX, 1, a->front());
}

LoraLinearGrad::LoraLinearGrad(const KernelInfo& info)
    : weight_(info, gradient::kWeight, gradient::kScale),
      scaling_(info.Float("scaling")),
      kernel_(MakeKernel(info)) {
  const WeightAttributes& attributes = weight_.attributes();
  CheckLastDimension("dy", "N", attributes.n, info.Input(gradient::kOutputGradient));
  CheckLastDimension("x", "K", attributes.k, info.Input(gradient::kX));
  const int64_t rank = CheckBranch(attributes, info.Input(gradient::kA), info.Input(gradient::kB));
  CheckLastDimension("h", "r", rank, info.Input(gradient::kNarrow));
}

void LoraLinearGrad::Compute(KernelContext& context) const {
  const WeightAttributes& attributes = weight_.attributes();
  const TensorView dy = context.Input(gradient::kOutputGradient), x = context.Input(gradient::kX);
  const TensorView h = context.Input(gradient::kNarrow);
  const TensorView a = context.Input(gradient::kA), b = context.Input(gradient::kB);
  CheckLastDimension("dy", "N", attributes.n, dy.info);
  CheckLastDimension("x", "K", attributes.k, x.info);
  const int64_t rank = CheckBranch(attributes, a.info, b.info);
  CheckLastDimension("h", "r", rank, h.info);
  const int64_t rows = LeadingSize(dy.info);
  if (LeadingSize(x.info) != rows || LeadingSize(h.info) != rows) {
    Fail("dy, x and h have the shapes ", ShapeText(dy.info.shape), ", ", ShapeText(x.info.shape), " and ",
         ShapeText(h.info.shape), ", expected equal dimensions before the last.");
  }

  const TensorView dx_addend = context.Input(gradient::kInputAddend);
  const TensorView da_addend = context.Input(gradient::kAAddend),
                   db_addend = context.Input(gradient::kBAddend);
  if (dx_addend.data != nullptr) CheckSameShape("dx_addend", dx_addend.info, "x", x.info);
  if (da_addend.data != nullptr) CheckSameShape("dA_addend", da_addend.info, "A", a.info);
  if (db_addend.data != nullptr) CheckSameShape("dB_addend", db_addend.info, "B", b.info);

  auto* const da = static_cast<float*>(context.Output(0, a.info.shape));
  auto* const db = static_cast<float*>(context.Output(1, b.info.shape));
  auto* const dx = static_cast<float*>(context.OptionalOutput(2, x.info.shape));
  const QuantizedWeight::Ready base = weight_.Get(context);
  const LoraStarts starts{dx_addend.As<float>(), da_addend.As<float>(), db_addend.As<float>()};
  kernel_.Backward(MakeWeights(base, a, b, scaling_), dy.As<float>(), x.As<float>(), h.As<float>(), rows,
                   starts, da, db, dx, context);
}

void LoraLinearGrad::InferShapes(ShapeInference& shapes) {
  if (const auto a = shapes.Input(gradient::kA)) shapes.SetOutput(0, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, *a);
  if (const auto b = shapes.Input(gradient::kB)) shapes.SetOutput(1, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, *b);
}

}  // namespace ortqlora

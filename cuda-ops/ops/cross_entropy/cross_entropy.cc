#include "ops/cross_entropy/cross_entropy.h"

#include "common/error.h"
#include "common/shape_check.h"

namespace ortqlora {
namespace {

constexpr size_t kX = 0, kWeight = 1, kLabels = 2, kBias = 3;

void Check(const TensorInfo& x, const TensorInfo& weight, const TensorInfo& labels, const TensorInfo& bias,
           bool transposed) {
  if (x.has_shape && x.shape.empty()) Fail("x is a scalar, expected [..., K].");
  const int64_t width = x.has_shape ? x.shape.back() : -1;
  if (transposed) {
    CheckShape("weight", weight, {-1, width});
  } else {
    CheckShape("weight", weight, {width, -1});
  }
  if (weight.has_shape) CheckShape("bias", bias, {weight.shape[transposed ? 0 : 1]});
  if (!x.has_shape || !labels.has_shape) return;
  TensorInfo expected = x;
  expected.shape.pop_back();
  CheckSameShape("labels", labels, "x without its last dimension", expected);
}

}  // namespace

LinearCrossEntropy::LinearCrossEntropy(const KernelInfo& info)
    : transposed_(info.Integer("transposed", 0) != 0),
      ignored_(info.Integer("ignore_index", -100)),
      kernel_(SelectCpuPath(), ParseCompute(info.String("compute", "auto"))) {
  Check(info.Input(kX), info.Input(kWeight), info.Input(kLabels), info.Input(kBias), transposed_);
}

void LinearCrossEntropy::Compute(KernelContext& context) const {
  const TensorView x = context.Input(kX), weight = context.Input(kWeight), labels = context.Input(kLabels);
  const TensorView bias = context.Input(kBias);
  Check(x.info, weight.info, labels.info, bias.info, transposed_);
  CrossEntropyCall call{};
  call.x = x.As<float>();
  call.rows = LeadingSize(x.info);
  call.width = x.info.shape.back();
  call.classes = weight.info.shape[transposed_ ? 0 : 1];
  call.weight = RowMajor(weight.As<float>(), weight.info.shape[1]);
  if (transposed_) call.weight = call.weight.Transposed();
  call.bias = bias.As<float>();
  call.labels = labels.As<int64_t>();
  call.ignored = ignored_;
  auto* const loss = static_cast<float*>(context.Output(0, {}));
  call.dx = static_cast<float*>(context.OptionalOutput(1, x.info.shape));
  *loss = kernel_.Run(call, context);
}

void LinearCrossEntropy::InferShapes(ShapeInference& shapes) {
  shapes.SetOutput(0, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, {});
}

}  // namespace ortqlora

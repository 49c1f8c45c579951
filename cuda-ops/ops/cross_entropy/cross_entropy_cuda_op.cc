#include "ops/cross_entropy/cross_entropy_cuda_op.h"

#include "common/shape_check.h"
#include "ops/cross_entropy/cross_entropy_cuda.h"

namespace ortqlora::cuda {
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

template <Element kElement>
LinearCrossEntropy<kElement>::LinearCrossEntropy(const KernelInfo& info)
    : transposed_(info.Integer("transposed", 0) != 0), ignored_(info.Integer("ignore_index", -100)) {
  Check(info.Input(kX), info.Input(kWeight), info.Input(kLabels), info.Input(kBias), transposed_);
}

template <Element kElement>
void LinearCrossEntropy<kElement>::Compute(KernelContext& context) const {
  const TensorView x = context.Input(kX), weight = context.Input(kWeight), labels = context.Input(kLabels);
  const TensorView bias = context.Input(kBias);
  Check(x.info, weight.info, labels.info, bias.info, transposed_);
  DeviceCrossEntropyCall call;
  call.element = kElement;
  call.weight_element = ElementOf("weight", weight.info);
  if (bias.data != nullptr) call.bias_element = ElementOf("bias", bias.info);
  call.x = x.data;
  call.weight = weight.data;
  call.transposed = transposed_;
  call.bias = bias.data;
  call.labels = labels.As<int64_t>();
  call.rows = LeadingSize(x.info);
  call.width = x.info.shape.back();
  call.classes = weight.info.shape[transposed_ ? 0 : 1];
  call.ignored = ignored_;
  call.loss = static_cast<float*>(context.Output(0, {}));
  call.dx = context.OptionalOutput(1, x.info.shape);
  const ScratchMemory scratch = context.Scratch(static_cast<size_t>(CrossEntropyWorkspace(call)));
  RunCrossEntropy(call, scratch.data(), static_cast<cudaStream_t>(context.Stream()));
}

template class LinearCrossEntropy<Element::kFloat>;
template class LinearCrossEntropy<Element::kHalf>;
template class LinearCrossEntropy<Element::kBfloat16>;

}  // namespace ortqlora::cuda

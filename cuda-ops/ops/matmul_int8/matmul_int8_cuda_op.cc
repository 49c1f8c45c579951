#include "ops/matmul_int8/matmul_int8_cuda_op.h"

#include "common/shape_check.h"

namespace ortqlora::cuda {
namespace {

constexpr size_t kRows = 0, kWeight = 1, kScale = 2, kBias = 3;

void CheckRows(Direction direction, const WeightAttributes& attributes, const TensorInfo& rows) {
  direction == Direction::kForward ? CheckLastDimension("x", "K", attributes.k, rows)
                                   : CheckLastDimension("dy", "N", attributes.n, rows);
}

void Multiply(KernelContext& context, const DeviceQuantizedWeight& quantized, Direction direction,
              Element element, const DeviceCompute& compute) {
  const bool forward = direction == Direction::kForward;
  const TensorView in = context.Input(kRows), bias = forward ? context.Input(kBias) : TensorView{};
  CheckRows(direction, quantized.attributes(), in.info);
  std::vector<int64_t> shape = in.info.shape;
  shape.back() = forward ? quantized.attributes().n : quantized.attributes().k;

  DeviceGemmCall call = GemmCallOf(quantized, direction, element, compute, LeadingSize(in.info));
  call.in = in.data;
  call.out = context.Output(0, shape);
  const Device& device = Device::Current();
  const GemmPlan plan = PlanGemm(call, device);
  const int64_t workspace = RoundUp(plan.workspace(), 256);
  const ScratchMemory scratch =
      context.Scratch(static_cast<size_t>(workspace + BoundScratch(quantized, bias)));
  BindWeight(context, quantized, bias, plan, static_cast<char*>(scratch.data()) + workspace, context.Stream(),
             call);
  RunGemm(call, plan, device, scratch.data(), static_cast<cudaStream_t>(context.Stream()));
}

}  // namespace

template <Element kElement>
MatMulInt8<kElement>::MatMulInt8(const KernelInfo& info)
    : weight_(info, kWeight, kScale), compute_(info, kElement) {
  CheckRows(Direction::kForward, weight_.attributes(), info.Input(kRows));
}

template <Element kElement>
void MatMulInt8<kElement>::Compute(KernelContext& context) const {
  Multiply(context, weight_, Direction::kForward, kElement, compute_);
}

template <Element kElement>
MatMulInt8Grad<kElement>::MatMulInt8Grad(const KernelInfo& info)
    : weight_(info, kWeight, kScale), compute_(info, kElement) {
  CheckRows(Direction::kGradient, weight_.attributes(), info.Input(kRows));
}

template <Element kElement>
void MatMulInt8Grad<kElement>::Compute(KernelContext& context) const {
  Multiply(context, weight_, Direction::kGradient, kElement, compute_);
}

template class MatMulInt8<Element::kFloat>;
template class MatMulInt8<Element::kHalf>;
template class MatMulInt8<Element::kBfloat16>;
template class MatMulInt8Grad<Element::kFloat>;
template class MatMulInt8Grad<Element::kHalf>;
template class MatMulInt8Grad<Element::kBfloat16>;

}  // namespace ortqlora::cuda

#include "ops/lora_linear/lora_linear_cuda_op.h"

#include "common/shape_check.h"

namespace ortqlora::cuda {
namespace {

namespace forward {
constexpr size_t kX = 0, kWeight = 1, kScale = 2, kA = 3, kB = 4, kBias = 5, kAddend = 6;
}
namespace gradient {
constexpr size_t kOutputGradient = 0, kX = 1, kNarrow = 2, kWeight = 3, kScale = 4, kA = 5, kB = 6;
constexpr size_t kInputAddend = 7, kAAddend = 8, kBAddend = 9;
}

// Checks A and B, and returns the rank; -1 where neither shows it.
int64_t CheckBranch(const WeightAttributes& attributes, const TensorInfo& a, const TensorInfo& b) {
  CheckShape("A", a, {-1, attributes.k});
  const int64_t rank = a.has_shape ? a.shape[0] : -1;
  CheckShape("B", b, {attributes.n, rank});
  return rank >= 0 ? rank : b.has_shape ? b.shape[1] : -1;
}

}  // namespace

template <Element kElement>
LoraLinear<kElement>::LoraLinear(const KernelInfo& info)
    : weight_(info, forward::kWeight, forward::kScale),
      scaling_(info.Float("scaling")),
      compute_(info, kElement) {
  CheckLastDimension("x", "K", weight_.attributes().k, info.Input(forward::kX));
  CheckBranch(weight_.attributes(), info.Input(forward::kA), info.Input(forward::kB));
  CheckShape("bias", info.Input(forward::kBias), {weight_.attributes().n});
}

template <Element kElement>
void LoraLinear<kElement>::Compute(KernelContext& context) const {
  const TensorView x = context.Input(forward::kX), bias = context.Input(forward::kBias);
  const TensorView a = context.Input(forward::kA), b = context.Input(forward::kB);
  CheckLastDimension("x", "K", weight_.attributes().k, x.info);
  DeviceLoraCall call;
  call.rank = CheckBranch(weight_.attributes(), a.info, b.info);
  call.a = a.As<float>();
  call.b = b.As<float>();
  call.scaling = scaling_;
  call.base = GemmCallOf(weight_, Direction::kForward, kElement, compute_, LeadingSize(x.info));
  std::vector<int64_t> shape = x.info.shape;
  shape.back() = weight_.attributes().n;
  const TensorView addend = context.Input(forward::kAddend);
  if (addend.data != nullptr) {
    TensorInfo expected = x.info;
    expected.shape = shape;
    CheckSameShape("addend", addend.info, "y", expected);
  }
  call.base.in = x.data;
  call.base.out = context.Output(0, shape);
  call.base.addend = addend.data;
  shape.back() = call.rank;
  void* const h = context.Output(1, shape);

  const Device& device = Device::Current();
  const GemmPlan plan = PlanGemm(call.base, device);
  const int64_t workspace = LoraWorkspace(call, plan);
  const ScratchMemory scratch = context.Scratch(static_cast<size_t>(workspace + BoundScratch(weight_, bias)));
  BindWeight(context, weight_, bias, plan, static_cast<char*>(scratch.data()) + workspace, context.Stream(), call.base);
  RunLoraForward(call, plan, device, h, scratch.data(), static_cast<cudaStream_t>(context.Stream()));
}

template <Element kElement>
LoraLinearGrad<kElement>::LoraLinearGrad(const KernelInfo& info)
    : weight_(info, gradient::kWeight, gradient::kScale),
      scaling_(info.Float("scaling")),
      compute_(info, kElement) {
  CheckLastDimension("dy", "N", weight_.attributes().n, info.Input(gradient::kOutputGradient));
  CheckLastDimension("x", "K", weight_.attributes().k, info.Input(gradient::kX));
  const int64_t rank = CheckBranch(weight_.attributes(), info.Input(gradient::kA), info.Input(gradient::kB));
  CheckLastDimension("h", "r", rank, info.Input(gradient::kNarrow));
}

template <Element kElement>
void LoraLinearGrad<kElement>::Compute(KernelContext& context) const {
  const TensorView dy = context.Input(gradient::kOutputGradient), x = context.Input(gradient::kX);
  const TensorView h = context.Input(gradient::kNarrow);
  const TensorView a = context.Input(gradient::kA), b = context.Input(gradient::kB);
  CheckLastDimension("dy", "N", weight_.attributes().n, dy.info);
  CheckLastDimension("x", "K", weight_.attributes().k, x.info);
  DeviceLoraCall call;
  call.rank = CheckBranch(weight_.attributes(), a.info, b.info);
  CheckLastDimension("h", "r", call.rank, h.info);
  const int64_t rows = LeadingSize(dy.info);
  if (LeadingSize(x.info) != rows || LeadingSize(h.info) != rows) {
    Fail("dy, x and h have the shapes ", ShapeText(dy.info.shape), ", ", ShapeText(x.info.shape), " and ",
         ShapeText(h.info.shape), ", expected equal dimensions before the last.");
  }
  call.a = a.As<float>();
  call.b = b.As<float>();
  call.scaling = scaling_;
  call.base = GemmCallOf(weight_, Direction::kGradient, kElement, compute_, rows);
  call.base.in = dy.data;
  auto* const da = static_cast<float*>(context.Output(0, a.info.shape));
  auto* const db = static_cast<float*>(context.Output(1, b.info.shape));
  call.base.out = context.OptionalOutput(2, x.info.shape);
  const TensorView dx_addend = context.Input(gradient::kInputAddend);
  const TensorView da_addend = context.Input(gradient::kAAddend), db_addend = context.Input(gradient::kBAddend);
  if (dx_addend.data != nullptr) CheckSameShape("dx_addend", dx_addend.info, "x", x.info);
  if (da_addend.data != nullptr) CheckSameShape("dA_addend", da_addend.info, "A", a.info);
  if (db_addend.data != nullptr) CheckSameShape("dB_addend", db_addend.info, "B", b.info);
  call.base.addend = dx_addend.data;
  call.da_start = da_addend.As<float>();
  call.db_start = db_addend.As<float>();

  const Device& device = Device::Current();
  const GemmPlan plan = PlanGemm(call.base, device);
  const int64_t workspace = LoraWorkspace(call, plan);
  const ScratchMemory scratch = context.Scratch(static_cast<size_t>(workspace + BoundScratch(weight_, {})));
  BindWeight(context, weight_, {}, plan, static_cast<char*>(scratch.data()) + workspace, context.Stream(), call.base);
  RunLoraBackward(call, plan, device, x.data, h.data, da, db, scratch.data(),
                  static_cast<cudaStream_t>(context.Stream()));
}

template class LoraLinear<Element::kFloat>;
template class LoraLinear<Element::kHalf>;
template class LoraLinear<Element::kBfloat16>;
template class LoraLinearGrad<Element::kFloat>;
template class LoraLinearGrad<Element::kHalf>;
template class LoraLinearGrad<Element::kBfloat16>;

}  // namespace ortqlora::cuda

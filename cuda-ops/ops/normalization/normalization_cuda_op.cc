#include "ops/normalization/normalization_cuda_op.h"

#include "common/shape_check.h"

namespace ortqlora::cuda {
namespace {

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

void CheckStatistics(const char* name, const TensorInfo& statistics, const TensorInfo& x) {
  CheckLastDimension(name, "1", 1, statistics);
  if (!statistics.fully_known() || !x.fully_known() || LeadingSize(statistics) == LeadingSize(x)) return;
  Fail(name, " has the shape ", ShapeText(statistics.shape), ", expected a number for each row of x ",
       ShapeText(x.shape), ".");
}

void Normalize(KernelContext& context, NormCall call, bool centre) {
  const TensorView x = context.Input(0), weight = context.Input(1),
                   bias = centre ? context.Input(2) : TensorView{};
  call.width = CheckRows(x.info, weight.info);
  call.rows = LeadingSize(x.info);
  if (bias.data != nullptr) CheckShape("bias", bias.info, {call.width});
  std::vector<int64_t> statistics = x.info.shape;
  statistics.back() = 1;
  call.x = x.data;
  call.weight = weight.data;
  call.bias = bias.data;
  call.y = context.Output(0, x.info.shape);
  if (centre) call.mean = static_cast<float*>(context.Output(1, statistics));
  call.inv = static_cast<float*>(context.Output(centre ? 2 : 1, statistics));
  LaunchNorm(call, static_cast<cudaStream_t>(context.Stream()));
}

void CheckGradient(const TensorInfo& dy, const TensorInfo& x, const TensorInfo& weight) {
  CheckSameShape("dy", dy, "x", x);
  CheckRows(x, weight);
}

void Differentiate(KernelContext& context, Element element, Element weight_element, bool centre) {
  const TensorView dy = context.Input(0), x = context.Input(1), weight = context.Input(2);
  const TensorView mean = centre ? context.Input(3) : TensorView{}, inv = context.Input(centre ? 4 : 3);
  CheckGradient(dy.info, x.info, weight.info);
  if (centre) CheckStatistics("mean", mean.info, x.info);
  CheckStatistics("inv", inv.info, x.info);
  NormGradCall call;
  call.element = element;
  call.weight_element = weight_element;
  call.rows = LeadingSize(x.info);
  call.width = x.info.shape.back();
  call.dy = dy.data;
  call.x = x.data;
  call.weight = weight.data;
  call.mean = mean.As<float>();
  call.inv = inv.As<float>();
  const TensorView addend = context.Input(centre ? 5 : 4);
  if (addend.data != nullptr) CheckSameShape("addend", addend.info, "x", x.info);
  call.addend = addend.data;
  call.dx = context.Output(0, x.info.shape);
  call.dweight = context.OptionalOutput(1, weight.info.shape);
  if (centre) call.dbias = context.OptionalOutput(2, weight.info.shape);
  const bool sums = call.dweight != nullptr || call.dbias != nullptr;
  const ScratchMemory scratch =
      context.Scratch(sums ? static_cast<size_t>(NormGradWorkspace(call.rows, call.width)) : 0);
  call.workspace = static_cast<float*>(scratch.data());
  LaunchNormGrad(call, static_cast<cudaStream_t>(context.Stream()));
}

NormCall CallOf(Element element, Element weight_element, float epsilon) {
  NormCall call;
  call.element = element;
  call.weight_element = weight_element;
  call.epsilon = epsilon;
  return call;
}

}  // namespace

template <Element kElement, Element kWeight>
RmsNorm<kElement, kWeight>::RmsNorm(const KernelInfo& info) : epsilon_(Epsilon(info)) {
  CheckRows(info.Input(0), info.Input(1));
}

template <Element kElement, Element kWeight>
void RmsNorm<kElement, kWeight>::Compute(KernelContext& context) const {
  Normalize(context, CallOf(kElement, kWeight, epsilon_), false);
}

template <Element kElement, Element kWeight>
RmsNormGrad<kElement, kWeight>::RmsNormGrad(const KernelInfo& info) {
  CheckGradient(info.Input(0), info.Input(1), info.Input(2));
  CheckStatistics("inv", info.Input(3), info.Input(1));
}

template <Element kElement, Element kWeight>
void RmsNormGrad<kElement, kWeight>::Compute(KernelContext& context) const {
  Differentiate(context, kElement, kWeight, false);
}

template <Element kElement, Element kWeight>
LayerNorm<kElement, kWeight>::LayerNorm(const KernelInfo& info) : epsilon_(Epsilon(info)) {
  CheckShape("bias", info.Input(2), {CheckRows(info.Input(0), info.Input(1))});
}

template <Element kElement, Element kWeight>
void LayerNorm<kElement, kWeight>::Compute(KernelContext& context) const {
  Normalize(context, CallOf(kElement, kWeight, epsilon_), true);
}

template <Element kElement, Element kWeight>
LayerNormGrad<kElement, kWeight>::LayerNormGrad(const KernelInfo& info) {
  CheckGradient(info.Input(0), info.Input(1), info.Input(2));
  CheckStatistics("mean", info.Input(3), info.Input(1));
  CheckStatistics("inv", info.Input(4), info.Input(1));
}

template <Element kElement, Element kWeight>
void LayerNormGrad<kElement, kWeight>::Compute(KernelContext& context) const {
  Differentiate(context, kElement, kWeight, true);
}

#define ORTQLORA_INSTANTIATE(element, weight)                    \
  template class RmsNorm<Element::element, Element::weight>;     \
  template class RmsNormGrad<Element::element, Element::weight>; \
  template class LayerNorm<Element::element, Element::weight>;   \
  template class LayerNormGrad<Element::element, Element::weight>
ORTQLORA_INSTANTIATE(kFloat, kFloat);
ORTQLORA_INSTANTIATE(kHalf, kHalf);
ORTQLORA_INSTANTIATE(kHalf, kFloat);
ORTQLORA_INSTANTIATE(kBfloat16, kBfloat16);
ORTQLORA_INSTANTIATE(kBfloat16, kFloat);
#undef ORTQLORA_INSTANTIATE

}  // namespace ortqlora::cuda

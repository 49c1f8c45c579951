#include "ops/gelu/gelu_cuda_op.h"

#include "common/shape_check.h"
#include "ops/gelu/gelu_cuda.h"

namespace ortqlora::cuda {
namespace {

bool IsTanh(const KernelInfo& info) {
  const std::string name = info.String("approximate", "none");
  if (name != "none" && name != "tanh") {
    Fail("attribute approximate is '", name, "', expected 'none' or 'tanh'.");
  }
  return name == "tanh";
}

}  // namespace

template <Element kElement>
Gelu<kElement>::Gelu(const KernelInfo& info) : tanh_(IsTanh(info)) {}

template <Element kElement>
void Gelu<kElement>::Compute(KernelContext& context) const {
  const TensorView x = context.Input(0);
  LaunchGelu(kElement, tanh_, x.data, x.info.size(), context.Output(0, x.info.shape),
             static_cast<cudaStream_t>(context.Stream()));
}

template <Element kElement>
GeluGrad<kElement>::GeluGrad(const KernelInfo& info) : tanh_(IsTanh(info)) {
  CheckSameShape("dy", info.Input(0), "x", info.Input(1));
}

template <Element kElement>
void GeluGrad<kElement>::Compute(KernelContext& context) const {
  const TensorView dy = context.Input(0), x = context.Input(1);
  CheckSameShape("dy", dy.info, "x", x.info);
  LaunchGeluGrad(kElement, tanh_, dy.data, x.data, x.info.size(), context.Output(0, x.info.shape),
                 static_cast<cudaStream_t>(context.Stream()));
}

template class Gelu<Element::kFloat>;
template class Gelu<Element::kHalf>;
template class Gelu<Element::kBfloat16>;
template class GeluGrad<Element::kFloat>;
template class GeluGrad<Element::kHalf>;
template class GeluGrad<Element::kBfloat16>;

}  // namespace ortqlora::cuda

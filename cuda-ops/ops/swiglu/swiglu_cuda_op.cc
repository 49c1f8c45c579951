#include "ops/swiglu/swiglu_cuda_op.h"

#include "common/shape_check.h"
#include "ops/swiglu/swiglu_cuda.h"

namespace ortqlora::cuda {

template <Element kElement>
SwiGlu<kElement>::SwiGlu(const KernelInfo& info) {
  CheckSameShape("up", info.Input(1), "gate", info.Input(0));
}

template <Element kElement>
void SwiGlu<kElement>::Compute(KernelContext& context) const {
  const TensorView gate = context.Input(0), up = context.Input(1);
  CheckSameShape("up", up.info, "gate", gate.info);
  LaunchSwiGlu(kElement, gate.data, up.data, gate.info.size(), context.Output(0, gate.info.shape),
               static_cast<cudaStream_t>(context.Stream()));
}

template <Element kElement>
SwiGluGrad<kElement>::SwiGluGrad(const KernelInfo& info) {
  CheckSameShape("gate", info.Input(1), "dy", info.Input(0));
  CheckSameShape("up", info.Input(2), "dy", info.Input(0));
}

template <Element kElement>
void SwiGluGrad<kElement>::Compute(KernelContext& context) const {
  const TensorView dy = context.Input(0), gate = context.Input(1), up = context.Input(2);
  CheckSameShape("gate", gate.info, "dy", dy.info);
  CheckSameShape("up", up.info, "dy", dy.info);
  void* const dgate = context.Output(0, dy.info.shape);
  void* const dup = context.Output(1, dy.info.shape);
  LaunchSwiGluGrad(kElement, dy.data, gate.data, up.data, dy.info.size(), dgate, dup,
                   static_cast<cudaStream_t>(context.Stream()));
}

template class SwiGlu<Element::kFloat>;
template class SwiGlu<Element::kHalf>;
template class SwiGlu<Element::kBfloat16>;
template class SwiGluGrad<Element::kFloat>;
template class SwiGluGrad<Element::kHalf>;
template class SwiGluGrad<Element::kBfloat16>;

}  // namespace ortqlora::cuda

#include "ops/attention/attention_cuda_op.h"

#include "common/shape_check.h"

namespace ortqlora::cuda {
namespace {

// The tensors that both ops are given, checked.
DeviceAttentionCall CallOf(Element element, const AttentionAttributes& attributes, const TensorView& q,
                           const TensorView& k, const TensorView& v, const TensorView& mask) {
  DeviceAttentionCall call;
  call.element = element;
  call.shape = attributes.Check(q.info, k.info, v.info);
  call.mask = AttentionAttributes::CheckMask(call.shape, mask);
  call.q = q.data;
  call.k = k.data;
  call.v = v.data;
  return call;
}

}  // namespace

template <Element kElement>
Attention<kElement>::Attention(const KernelInfo& info) : attributes_(info) {
  attributes_.CheckDeclared(info.Input(0), info.Input(1), info.Input(2), info.Input(3));
}

template <Element kElement>
void Attention<kElement>::Compute(KernelContext& context) const {
  DeviceAttentionCall call =
      CallOf(kElement, attributes_, context.Input(0), context.Input(1), context.Input(2), context.Input(3));
  const AttentionShape& shape = call.shape;
  call.y_out = context.Output(0, attributes_.OutputShape(shape));
  call.lse_out = static_cast<float*>(context.Output(1, {shape.batch, shape.heads, shape.queries}));
  const ScratchMemory scratch = context.Scratch(static_cast<size_t>(AttentionWorkspace(call, false)));
  RunAttentionForward(call, scratch.data(), static_cast<cudaStream_t>(context.Stream()));
}

template <Element kElement>
AttentionGrad<kElement>::AttentionGrad(const KernelInfo& info) : attributes_(info) {
  attributes_.CheckDeclared(info.Input(1), info.Input(2), info.Input(3), info.Input(6));
  CheckSameShape("dy", info.Input(0), "y", info.Input(4));
}

template <Element kElement>
void AttentionGrad<kElement>::Compute(KernelContext& context) const {
  const TensorView dy = context.Input(0), q = context.Input(1), k = context.Input(2), v = context.Input(3);
  const TensorView y = context.Input(4), lse = context.Input(5);
  DeviceAttentionCall call = CallOf(kElement, attributes_, q, k, v, context.Input(6));
  attributes_.CheckResults(call.shape, dy.info, y.info, lse.info);
  call.dy = dy.data;
  call.y = y.data;
  call.lse = lse.As<float>();
  call.dq = context.Output(0, q.info.shape);
  call.dk = context.Output(1, k.info.shape);
  call.dv = context.Output(2, v.info.shape);
  const ScratchMemory scratch = context.Scratch(static_cast<size_t>(AttentionWorkspace(call, true)));
  RunAttentionBackward(call, scratch.data(), static_cast<cudaStream_t>(context.Stream()));
}

template class Attention<Element::kFloat>;
template class Attention<Element::kHalf>;
template class Attention<Element::kBfloat16>;
template class AttentionGrad<Element::kFloat>;
template class AttentionGrad<Element::kHalf>;
template class AttentionGrad<Element::kBfloat16>;

}  // namespace ortqlora::cuda

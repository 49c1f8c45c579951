#include "ops/attention/attention.h"

#include "common/shape_check.h"

namespace ortqlora {
namespace {

AttentionKernel MakeKernel(const KernelInfo& info) {
  return AttentionKernel(SelectCpuPath(), ParseCompute(info.String("compute", "auto")));
}

}  // namespace

Attention::Attention(const KernelInfo& info) : attributes_(info), kernel_(MakeKernel(info)) {
  attributes_.CheckDeclared(info.Input(0), info.Input(1), info.Input(2), info.Input(3));
}

void Attention::Compute(KernelContext& context) const {
  const TensorView q = context.Input(0), k = context.Input(1), v = context.Input(2);
  const AttentionShape shape = attributes_.Check(q.info, k.info, v.info);
  const AttentionMask mask = AttentionAttributes::CheckMask(shape, context.Input(3));
  auto* const y = static_cast<float*>(context.Output(0, attributes_.OutputShape(shape)));
  auto* const lse = static_cast<float*>(context.Output(1, {shape.batch, shape.heads, shape.queries}));
  kernel_.Forward(shape, q.As<float>(), k.As<float>(), v.As<float>(), mask, y, lse, context);
}

void Attention::InferShapes(ShapeInference& shapes) {
  auto q = shapes.Input(0);
  const auto v = shapes.Input(2);
  if (!q.has_value() || !v.has_value()) return;
  q->back() = v->back();
  shapes.SetOutput(0, shapes.InputType(0), *q);
}

AttentionGrad::AttentionGrad(const KernelInfo& info) : attributes_(info), kernel_(MakeKernel(info)) {
  attributes_.CheckDeclared(info.Input(1), info.Input(2), info.Input(3), info.Input(6));
  CheckSameShape("dy", info.Input(0), "y", info.Input(4));
}

void AttentionGrad::Compute(KernelContext& context) const {
  const TensorView dy = context.Input(0), q = context.Input(1), k = context.Input(2), v = context.Input(3);
  const TensorView y = context.Input(4), lse = context.Input(5);
  const AttentionShape shape = attributes_.Check(q.info, k.info, v.info);
  const AttentionMask mask = AttentionAttributes::CheckMask(shape, context.Input(6));
  attributes_.CheckResults(shape, dy.info, y.info, lse.info);
  auto* const dq = static_cast<float*>(context.Output(0, q.info.shape));
  auto* const dk = static_cast<float*>(context.Output(1, k.info.shape));
  auto* const dv = static_cast<float*>(context.Output(2, v.info.shape));
  kernel_.Backward(shape, dy.As<float>(), q.As<float>(), k.As<float>(), v.As<float>(), y.As<float>(),
                   lse.As<float>(), mask, dq, dk, dv, context);
}

void AttentionGrad::InferShapes(ShapeInference& shapes) {
  for (size_t i = 0; i < 3; ++i) {
    if (const auto shape = shapes.Input(i + 1)) shapes.SetOutput(i, shapes.InputType(i + 1), *shape);
  }
}

}  // namespace ortqlora

#include "ops/swiglu/swiglu.h"

#include "common/shape_check.h"

namespace ortqlora {
namespace {

// Elementwise: a row is one element.
constexpr int64_t kWidth = 1;

void InferLikeFirst(ShapeInference& shapes, size_t outputs) {
  const auto shape = shapes.Input(0);
  if (!shape.has_value()) return;
  for (size_t i = 0; i < outputs; ++i) shapes.SetOutput(i, shapes.InputType(0), *shape);
}

}  // namespace

SwiGlu::SwiGlu(const KernelInfo& info) : kernels_(SimdKernelsOf(SelectCpuPath())) {
  CheckSameShape("up", info.Input(1), "gate", info.Input(0));
}

void SwiGlu::Compute(KernelContext& context) const {
  const TensorView gate = context.Input(0), up = context.Input(1);
  CheckSameShape("up", up.info, "gate", gate.info);
  auto* const y = static_cast<float*>(context.Output(0, gate.info.shape));
  ForRows(context, gate.info.size(), kWidth, [&](int64_t first, int64_t count) {
    kernels_.swiglu(gate.As<float>() + first, up.As<float>() + first, count, y + first);
  });
}

void SwiGlu::InferShapes(ShapeInference& shapes) { InferLikeFirst(shapes, 1); }

SwiGluGrad::SwiGluGrad(const KernelInfo& info) : kernels_(SimdKernelsOf(SelectCpuPath())) {
  CheckSameShape("gate", info.Input(1), "dy", info.Input(0));
  CheckSameShape("up", info.Input(2), "dy", info.Input(0));
}

void SwiGluGrad::Compute(KernelContext& context) const {
  const TensorView dy = context.Input(0), gate = context.Input(1), up = context.Input(2);
  CheckSameShape("gate", gate.info, "dy", dy.info);
  CheckSameShape("up", up.info, "dy", dy.info);
  auto* const dgate = static_cast<float*>(context.Output(0, dy.info.shape));
  auto* const dup = static_cast<float*>(context.Output(1, dy.info.shape));
  ForRows(context, dy.info.size(), kWidth, [&](int64_t first, int64_t count) {
    kernels_.swiglu_grad(dy.As<float>() + first, gate.As<float>() + first, up.As<float>() + first, count,
                         dgate + first, dup + first);
  });
}

void SwiGluGrad::InferShapes(ShapeInference& shapes) { InferLikeFirst(shapes, 2); }

}  // namespace ortqlora

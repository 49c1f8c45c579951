#include "ops/gelu/gelu.h"

#include "common/error.h"
#include "common/shape_check.h"

namespace ortqlora {
namespace {

bool IsTanh(const KernelInfo& info) {
  const std::string name = info.String("approximate", "none");
  if (name != "none" && name != "tanh")
    Fail("attribute approximate is '", name, "', expected 'none' or 'tanh'.");
  return name == "tanh";
}

void InferLikeFirst(ShapeInference& shapes) {
  if (const auto shape = shapes.Input(0)) shapes.SetOutput(0, shapes.InputType(0), *shape);
}

}  // namespace

Gelu::Gelu(const KernelInfo& info) {
  const SimdKernels& kernels = SimdKernelsOf(SelectCpuPath());
  kernel_ = IsTanh(info) ? kernels.gelu_tanh : kernels.gelu_erf;
}

void Gelu::Compute(KernelContext& context) const {
  const TensorView x = context.Input(0);
  auto* const y = static_cast<float*>(context.Output(0, x.info.shape));
  ForRows(context, x.info.size(), 1,
          [&](int64_t first, int64_t count) { kernel_(x.As<float>() + first, count, y + first); });
}

void Gelu::InferShapes(ShapeInference& shapes) { InferLikeFirst(shapes); }

GeluGrad::GeluGrad(const KernelInfo& info) {
  CheckSameShape("dy", info.Input(0), "x", info.Input(1));
  const SimdKernels& kernels = SimdKernelsOf(SelectCpuPath());
  kernel_ = IsTanh(info) ? kernels.gelu_tanh_grad : kernels.gelu_erf_grad;
}

void GeluGrad::Compute(KernelContext& context) const {
  const TensorView dy = context.Input(0), x = context.Input(1);
  CheckSameShape("dy", dy.info, "x", x.info);
  auto* const dx = static_cast<float*>(context.Output(0, x.info.shape));
  ForRows(context, x.info.size(), 1, [&](int64_t first, int64_t count) {
    kernel_(dy.As<float>() + first, x.As<float>() + first, count, dx + first);
  });
}

void GeluGrad::InferShapes(ShapeInference& shapes) { InferLikeFirst(shapes); }

}  // namespace ortqlora

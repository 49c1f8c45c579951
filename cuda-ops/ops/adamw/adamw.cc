#include "ops/adamw/adamw.h"

#include "ops/adamw/adamw_checks.h"
#include "ops/adamw/adamw_cpu.h"

namespace ortqlora {

AdamW::AdamW(const KernelInfo& info)
    : kernels_(&SimdKernelsOf(SelectCpuPath())),
      beta1_(info.Float("beta1")),
      beta2_(info.Float("beta2")),
      epsilon_(info.Float("epsilon")),
      weight_decay_(info.Float("weight_decay")) {
  CheckAdamWInputs([&](size_t index) { return info.Input(index); });
}

void AdamW::Compute(KernelContext& context) const {
  CheckAdamWInputs([&](size_t index) { return context.Input(index).info; });
  const TensorView p = context.Input(0), factor = context.Input(6);
  AdamWCall call;
  call.p = p.As<float>();
  call.g = context.Input(1).As<float>();
  call.m = context.Input(2).As<float>();
  call.v = context.Input(3).As<float>();
  call.rate = *context.Input(4).As<float>();
  call.step = *context.Input(5).As<int64_t>();
  if (factor.data != nullptr) call.factor = *factor.As<float>();
  if (call.step < 1) Fail("step is ", call.step, ", expected 1 or more.");
  call.new_p = static_cast<float*>(context.Output(0, p.info.shape));
  call.new_m = static_cast<float*>(context.Output(1, p.info.shape));
  call.new_v = static_cast<float*>(context.Output(2, p.info.shape));
  call.count = p.info.size();
  call.beta1 = beta1_;
  call.beta2 = beta2_;
  call.epsilon = epsilon_;
  call.weight_decay = weight_decay_;
  StepAdamW(*kernels_, call, context);
}

void AdamW::InferShapes(ShapeInference& shapes) {
  const auto shape = shapes.Input(0);
  for (size_t output = 0; shape && output < 3; ++output) shapes.SetOutput(output, kFloatPort.type, *shape);
}

SquaredNorm::SquaredNorm(const KernelInfo&) : kernels_(&SimdKernelsOf(SelectCpuPath())) {}

void SquaredNorm::Compute(KernelContext& context) const {
  const TensorView x = context.Input(0);
  *static_cast<double*>(context.Output(0, {})) =
      SumOfSquares(*kernels_, x.As<float>(), x.info.size(), context);
}

}  // namespace ortqlora

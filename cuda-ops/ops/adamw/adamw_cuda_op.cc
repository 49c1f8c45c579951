#include "ops/adamw/adamw_cuda_op.h"

#include "ops/adamw/adamw_checks.h"
#include "ops/adamw/adamw_cuda.h"

namespace ortqlora::cuda {

AdamW::AdamW(const KernelInfo& info)
    : beta1_(info.Float("beta1")),
      beta2_(info.Float("beta2")),
      epsilon_(info.Float("epsilon")),
      weight_decay_(info.Float("weight_decay")) {
  CheckAdamWInputs([&](size_t index) { return info.Input(index); });
}

void AdamW::Compute(KernelContext& context) const {
  const TensorView p = context.Input(0), g = context.Input(1), m = context.Input(2), v = context.Input(3);
  const TensorView rate = context.Input(4), step = context.Input(5), factor = context.Input(6);
  CheckAdamWInputs([&](size_t index) { return context.Input(index).info; });
  AdamWCall call;
  call.p = p.As<float>();
  call.g = g.As<float>();
  call.m = m.As<float>();
  call.v = v.As<float>();
  call.rate = rate.As<float>();
  call.step = step.As<int64_t>();
  call.factor = factor.As<float>();
  call.new_p = static_cast<float*>(context.Output(0, p.info.shape));
  call.new_m = static_cast<float*>(context.Output(1, p.info.shape));
  call.new_v = static_cast<float*>(context.Output(2, p.info.shape));
  call.count = p.info.size();
  call.beta1 = beta1_;
  call.beta2 = beta2_;
  call.epsilon = epsilon_;
  call.weight_decay = weight_decay_;
  LaunchAdamW(call, static_cast<cudaStream_t>(context.Stream()));
}

void SquaredNorm::Compute(KernelContext& context) const {
  const TensorView x = context.Input(0);
  auto* const y = static_cast<double*>(context.Output(0, {}));
  const ScratchMemory scratch = context.Scratch(kSquaredNormBytes);
  LaunchSquaredNorm(x.As<float>(), x.info.size(), y, scratch.data(),
                    static_cast<cudaStream_t>(context.Stream()));
}

}  // namespace ortqlora::cuda

#pragma once

#include "common/cuda/ort_element.h"
#include "common/ort_op.h"
#include "ops/rotary/rotary_cuda.h"

namespace ortqlora::cuda {

// Rotary and RotaryGrad on the device (rotary_cuda.h): x of float, float16 or bfloat16, cos and sin both of
// any of them.
//   x[B, H, S, D], or [B, S, H, D] with layout 'bshd'; cos and sin [S, R], [B or 1, S, R] or with an axis of
//   size 1 for the heads.
template <Element kElement, bool kGradient>
class RotaryOp {
 public:
  static constexpr const char* kName = kGradient ? "RotaryGrad" : "Rotary";
  static constexpr const char* kProvider = kCudaProvider;
  static constexpr Port kInputs[] = {{TensorTypeOf(kElement)}, kAnyPort, kAnyPort};
  static constexpr Port kOutputs[] = {{TensorTypeOf(kElement)}};

  explicit RotaryOp(const KernelInfo& info);
  void Compute(KernelContext& context) const;

 private:
  RotaryCall Check(const TensorInfo& x, const TensorInfo& cos, const TensorInfo& sin) const;

  bool sequence_first_;
};

template <Element kElement>
using Rotary = RotaryOp<kElement, false>;
template <Element kElement>
using RotaryGrad = RotaryOp<kElement, true>;

}  // namespace ortqlora::cuda

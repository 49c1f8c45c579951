#pragma once

#include "common/ort_op.h"
#include "ops/rotary/rotary_cpu.h"

namespace ortqlora {

// Rotary position embedding in the half-split form (Su et al. 2021; GPT-NeoX): of the first R features of
// each head y = x * cos + turn(x) * sin, turn([a, b]) = [-b, a]; the others stay.
//   x[B, H, S, D], or [B, S, H, D] with layout 'bshd'; cos and sin [S, R], [B or 1, S, R] or with an axis of
//   size 1 for the heads.
template <bool kGradient>
class RotaryOp {
 public:
  static constexpr const char* kName = kGradient ? "RotaryGrad" : "Rotary";
  static constexpr Port kInputs[] = {kFloatPort, kFloatPort, kFloatPort};
  static constexpr Port kOutputs[] = {kFloatPort};

  explicit RotaryOp(const KernelInfo& info);
  void Compute(KernelContext& context) const;
  static void InferShapes(ShapeInference& shapes);

 private:
  RotaryShape Check(const TensorInfo& x, const TensorInfo& cos, const TensorInfo& sin) const;

  const SimdKernels& kernels_;
  bool sequence_first_;
};

using Rotary = RotaryOp<false>;
// dy, cos, sin -> dx = dy * cos + turn^T(dy * sin).
using RotaryGrad = RotaryOp<true>;

}  // namespace ortqlora

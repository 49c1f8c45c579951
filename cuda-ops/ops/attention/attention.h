#pragma once

#include "common/ort_op.h"
#include "ops/attention/attention_attributes.h"
#include "ops/attention/attention_cpu.h"

namespace ortqlora {

// y = softmax(scale * q k^T + mask) v over heads, and lse, the log of the sum of exp of the scores.
//   q[B, H, S, D], k[B, G, C, D], v[B, G, C, E], H a multiple of G; with layout 'bshd' axes 1 and 2 are
//   swapped. mask float (added) or bool (true: visible), broadcasts to [B, H, S, C]. Attributes: scale float,
//   causal int, layout, compute as MatMulInt8's.
class Attention {
 public:
  static constexpr const char* kName = "Attention";
  static constexpr Port kInputs[] = {kFloatPort, kFloatPort, kFloatPort, kOptionalAnyPort};
  static constexpr Port kOutputs[] = {kFloatPort, kFloatPort};

  explicit Attention(const KernelInfo& info);
  void Compute(KernelContext& context) const;
  static void InferShapes(ShapeInference& shapes);

 private:
  AttentionAttributes attributes_;
  AttentionKernel kernel_;
};

// dy, q, k, v, y, lse, mask -> dq, dk, dv; the attributes of Attention.
class AttentionGrad {
 public:
  static constexpr const char* kName = "AttentionGrad";
  static constexpr Port kInputs[] = {kFloatPort, kFloatPort, kFloatPort,      kFloatPort,
                                     kFloatPort, kFloatPort, kOptionalAnyPort};
  static constexpr Port kOutputs[] = {kFloatPort, kFloatPort, kFloatPort};

  explicit AttentionGrad(const KernelInfo& info);
  void Compute(KernelContext& context) const;
  static void InferShapes(ShapeInference& shapes);

 private:
  AttentionAttributes attributes_;
  AttentionKernel kernel_;
};

}  // namespace ortqlora

#pragma once

#include "common/cuda/ort_element.h"
#include "common/ort_op.h"
#include "ops/attention/attention_attributes.h"
#include "ops/attention/cuda/attention_cuda.h"

namespace ortqlora::cuda {

// Attention on the device (attention.h): q, k, v and y of float, float16 or bfloat16, lse float, mask float
// or bool.
template <Element kElement>
class Attention {
 public:
  static constexpr const char* kName = "Attention";
  static constexpr const char* kProvider = kCudaProvider;
  static constexpr Port kRows{TensorTypeOf(kElement)};
  static constexpr Port kInputs[] = {kRows, kRows, kRows, kOptionalAnyPort};
  static constexpr Port kOutputs[] = {kRows, kFloatPort};

  explicit Attention(const KernelInfo& info);
  void Compute(KernelContext& context) const;

 private:
  AttentionAttributes attributes_;
};

// AttentionGrad on the device: dy, q, k, v, y and dq, dk, dv of one type.
template <Element kElement>
class AttentionGrad {
 public:
  static constexpr const char* kName = "AttentionGrad";
  static constexpr const char* kProvider = kCudaProvider;
  static constexpr Port kRows{TensorTypeOf(kElement)};
  static constexpr Port kInputs[] = {kRows, kRows, kRows, kRows, kRows, kFloatPort, kOptionalAnyPort};
  static constexpr Port kOutputs[] = {kRows, kRows, kRows};

  explicit AttentionGrad(const KernelInfo& info);
  void Compute(KernelContext& context) const;

 private:
  AttentionAttributes attributes_;
};

}  // namespace ortqlora::cuda

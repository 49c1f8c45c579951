#pragma once

#include "common/ort_op.h"
#include "ops/simd/simd_kernels.h"

namespace ortqlora {

// AdamW over a flat array (adamw_cpu.h): p, g, m, v of one shape, rate and factor float, step int64 scalars
// -> p, m, v.
class AdamW {
 public:
  static constexpr const char* kName = "AdamW";
  static constexpr Port kInputs[] = {kFloatPort,        kFloatPort, kFloatPort,
                                     kFloatPort,        kFloatPort, {ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64},
                                     kOptionalFloatPort};
  static constexpr Port kOutputs[] = {kFloatPort, kFloatPort, kFloatPort};

  explicit AdamW(const KernelInfo& info);
  void Compute(KernelContext& context) const;
  static void InferShapes(ShapeInference& shapes);

 private:
  const SimdKernels* kernels_;
  float beta1_, beta2_, epsilon_, weight_decay_;
};

// x -> y: the sum of squares in float64.
class SquaredNorm {
 public:
  static constexpr const char* kName = "SquaredNorm";
  static constexpr Port kInputs[] = {kFloatPort};
  static constexpr Port kOutputs[] = {{ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE}};

  explicit SquaredNorm(const KernelInfo& info);
  void Compute(KernelContext& context) const;

 private:
  const SimdKernels* kernels_;
};

}  // namespace ortqlora

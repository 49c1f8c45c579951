#pragma once

#include "common/ort_op.h"
#include "ops/simd/simd_kernels.h"

namespace ortqlora {

// y[..., D] = x * inv * weight[D], inv[..., 1] = 1 / sqrt(mean(x^2) + epsilon) (Zhang and Sennrich 2019).
class RmsNorm {
 public:
  static constexpr const char* kName = "RmsNorm";
  static constexpr Port kInputs[] = {kFloatPort, kFloatPort};
  static constexpr Port kOutputs[] = {kFloatPort, kFloatPort};

  explicit RmsNorm(const KernelInfo& info);
  void Compute(KernelContext& context) const;
  static void InferShapes(ShapeInference& shapes);

 private:
  const SimdKernels& kernels_;
  float epsilon_;
};

// dy, x, weight, inv and perhaps an addend of dx -> dx, and dweight where asked for.
class RmsNormGrad {
 public:
  static constexpr const char* kName = "RmsNormGrad";
  static constexpr Port kInputs[] = {kFloatPort, kFloatPort, kFloatPort, kFloatPort, kOptionalFloatPort};
  static constexpr Port kOutputs[] = {kFloatPort, kOptionalFloatPort};

  explicit RmsNormGrad(const KernelInfo& info);
  void Compute(KernelContext& context) const;
  static void InferShapes(ShapeInference& shapes);

 private:
  const SimdKernels& kernels_;
};

// y[..., D] = (x - mean) * inv * weight[D] + bias[D]; mean and inv [..., 1] (Ba, Kiros and Hinton 2016).
class LayerNorm {
 public:
  static constexpr const char* kName = "LayerNorm";
  static constexpr Port kInputs[] = {kFloatPort, kFloatPort, kOptionalFloatPort};
  static constexpr Port kOutputs[] = {kFloatPort, kFloatPort, kFloatPort};

  explicit LayerNorm(const KernelInfo& info);
  void Compute(KernelContext& context) const;
  static void InferShapes(ShapeInference& shapes);

 private:
  const SimdKernels& kernels_;
  float epsilon_;
};

// dy, x, weight, mean, inv and perhaps an addend of dx -> dx, and dweight and dbias where asked for.
class LayerNormGrad {
 public:
  static constexpr const char* kName = "LayerNormGrad";
  static constexpr Port kInputs[] = {kFloatPort, kFloatPort, kFloatPort,
                                     kFloatPort, kFloatPort, kOptionalFloatPort};
  static constexpr Port kOutputs[] = {kFloatPort, kOptionalFloatPort, kOptionalFloatPort};

  explicit LayerNormGrad(const KernelInfo& info);
  void Compute(KernelContext& context) const;
  static void InferShapes(ShapeInference& shapes);

 private:
  const SimdKernels& kernels_;
};

}  // namespace ortqlora

#pragma once

#include "common/ort_op.h"
#include "ops/simd/simd_kernels.h"

namespace ortqlora {

// y = x * P(x): the normal distribution with attribute approximate = 'none', its approximation by tanh with
// 'tanh' (Hendrycks and Gimpel 2016).
class Gelu {
 public:
  static constexpr const char* kName = "Gelu";
  static constexpr Port kInputs[] = {kFloatPort};
  static constexpr Port kOutputs[] = {kFloatPort};

  explicit Gelu(const KernelInfo& info);
  void Compute(KernelContext& context) const;
  static void InferShapes(ShapeInference& shapes);

 private:
  void (*kernel_)(const float* x, int64_t count, float* y);
};

// dy, x -> dx.
class GeluGrad {
 public:
  static constexpr const char* kName = "GeluGrad";
  static constexpr Port kInputs[] = {kFloatPort, kFloatPort};
  static constexpr Port kOutputs[] = {kFloatPort};

  explicit GeluGrad(const KernelInfo& info);
  void Compute(KernelContext& context) const;
  static void InferShapes(ShapeInference& shapes);

 private:
  void (*kernel_)(const float* dy, const float* x, int64_t count, float* dx);
};

}  // namespace ortqlora

#pragma once

#include "common/ort_op.h"
#include "ops/simd/simd_kernels.h"

namespace ortqlora {

// y = gate * sigmoid(gate) * up, of one shape (Shazeer 2020).
class SwiGlu {
 public:
  static constexpr const char* kName = "SwiGlu";
  static constexpr Port kInputs[] = {kFloatPort, kFloatPort};
  static constexpr Port kOutputs[] = {kFloatPort};

  explicit SwiGlu(const KernelInfo& info);
  void Compute(KernelContext& context) const;
  static void InferShapes(ShapeInference& shapes);

 private:
  const SimdKernels& kernels_;
};

// dy, gate, up -> dgate, dup.
class SwiGluGrad {
 public:
  static constexpr const char* kName = "SwiGluGrad";
  static constexpr Port kInputs[] = {kFloatPort, kFloatPort, kFloatPort};
  static constexpr Port kOutputs[] = {kFloatPort, kFloatPort};

  explicit SwiGluGrad(const KernelInfo& info);
  void Compute(KernelContext& context) const;
  static void InferShapes(ShapeInference& shapes);

 private:
  const SimdKernels& kernels_;
};

}  // namespace ortqlora

#pragma once

#include "common/cuda/ort_element.h"
#include "common/ort_op.h"

namespace ortqlora::cuda {

// Gelu and GeluGrad on the device (gelu_cuda.h), all tensors of one type; attribute approximate: none or
// tanh.
template <Element kElement>
class Gelu {
 public:
  static constexpr const char* kName = "Gelu";
  static constexpr const char* kProvider = kCudaProvider;
  static constexpr Port kInputs[] = {{TensorTypeOf(kElement)}};
  static constexpr Port kOutputs[] = {{TensorTypeOf(kElement)}};

  explicit Gelu(const KernelInfo& info);
  void Compute(KernelContext& context) const;

 private:
  bool tanh_;
};

// dy, x -> dx.
template <Element kElement>
class GeluGrad {
 public:
  static constexpr const char* kName = "GeluGrad";
  static constexpr const char* kProvider = kCudaProvider;
  static constexpr Port kInputs[] = {{TensorTypeOf(kElement)}, {TensorTypeOf(kElement)}};
  static constexpr Port kOutputs[] = {{TensorTypeOf(kElement)}};

  explicit GeluGrad(const KernelInfo& info);
  void Compute(KernelContext& context) const;

 private:
  bool tanh_;
};

}  // namespace ortqlora::cuda

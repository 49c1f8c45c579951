#pragma once

#include "common/cuda/ort_element.h"
#include "common/ort_op.h"

namespace ortqlora::cuda {

// SwiGlu and SwiGluGrad on the device (swiglu_cuda.h), all tensors of one type.
template <Element kElement>
class SwiGlu {
 public:
  static constexpr const char* kName = "SwiGlu";
  static constexpr const char* kProvider = kCudaProvider;
  static constexpr Port kInputs[] = {{TensorTypeOf(kElement)}, {TensorTypeOf(kElement)}};
  static constexpr Port kOutputs[] = {{TensorTypeOf(kElement)}};

  explicit SwiGlu(const KernelInfo& info);
  void Compute(KernelContext& context) const;
};

// dy, gate, up -> dgate, dup.
template <Element kElement>
class SwiGluGrad {
 public:
  static constexpr const char* kName = "SwiGluGrad";
  static constexpr const char* kProvider = kCudaProvider;
  static constexpr Port kInputs[] = {
      {TensorTypeOf(kElement)}, {TensorTypeOf(kElement)}, {TensorTypeOf(kElement)}};
  static constexpr Port kOutputs[] = {{TensorTypeOf(kElement)}, {TensorTypeOf(kElement)}};

  explicit SwiGluGrad(const KernelInfo& info);
  void Compute(KernelContext& context) const;
};

}  // namespace ortqlora::cuda

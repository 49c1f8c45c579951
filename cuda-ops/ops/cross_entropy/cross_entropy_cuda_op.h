#pragma once

#include "common/cuda/ort_element.h"
#include "common/ort_op.h"

namespace ortqlora::cuda {

// LinearCrossEntropy on the device (cross_entropy_cuda.h): x and dx of float, float16 or bfloat16, weight and bias of
// any of them, loss float.
template <Element kElement>
class LinearCrossEntropy {
 public:
  static constexpr const char* kName = "LinearCrossEntropy";
  static constexpr const char* kProvider = kCudaProvider;
  static constexpr Port kInputs[] = {{TensorTypeOf(kElement)},
                                     kAnyPort,
                                     {ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64},
                                     {ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED, true}};
  static constexpr Port kOutputs[] = {kFloatPort, {TensorTypeOf(kElement), true}};

  explicit LinearCrossEntropy(const KernelInfo& info);
  void Compute(KernelContext& context) const;

 private:
  bool transposed_;
  int64_t ignored_;
};

}  // namespace ortqlora::cuda

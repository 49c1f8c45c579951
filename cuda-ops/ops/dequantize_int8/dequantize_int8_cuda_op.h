#pragma once

#include "common/cuda/ort_element.h"
#include "common/ort_op.h"
#include "ops/matmul_int8/cuda/device_quantized_weight.h"

namespace ortqlora::cuda {

// DequantizeInt8 on the device (dequantize_int8.h); scale float, float16 or bfloat16.
template <Element kElement>
class DequantizeInt8 {
 public:
  static constexpr const char* kName = "DequantizeInt8";
  static constexpr const char* kProvider = kCudaProvider;
  static constexpr Port kInputs[] = {{ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED}, {TensorTypeOf(kElement)}};
  static constexpr Port kOutputs[] = {{TensorTypeOf(kElement)}};

  explicit DequantizeInt8(const KernelInfo& info);
  void Compute(KernelContext& context) const;

 private:
  DeviceQuantizedWeight weight_;
};

}  // namespace ortqlora::cuda

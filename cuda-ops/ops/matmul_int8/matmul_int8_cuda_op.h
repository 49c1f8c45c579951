#pragma once

#include "common/cuda/ort_element.h"
#include "common/ort_op.h"
#include "ops/matmul_int8/cuda/device_quantized_weight.h"
#include "ops/matmul_int8/cuda/gemm_cuda.h"

namespace ortqlora::cuda {

// MatMulInt8 on the device (matmul_int8.h), for x of type float, float16 or bfloat16; scale and bias may be
// of any of them. float16 and bfloat16 are multiplied as they are, sums are fp32. float rows become bf16
// terms: three in compute mode fp32, two in int16, one in bf16 and auto.
template <Element kElement>
class MatMulInt8 {
 public:
  static constexpr const char* kName = "MatMulInt8";
  static constexpr const char* kProvider = kCudaProvider;
  static constexpr Port kInputs[] = {{TensorTypeOf(kElement)},
                                     {ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED},
                                     {ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED},
                                     {ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED, true}};
  static constexpr Port kOutputs[] = {{TensorTypeOf(kElement)}};

  explicit MatMulInt8(const KernelInfo& info);
  void Compute(KernelContext& context) const;

 private:
  DeviceQuantizedWeight weight_;
  DeviceCompute compute_;
};

// MatMulInt8Grad on the device.
template <Element kElement>
class MatMulInt8Grad {
 public:
  static constexpr const char* kName = "MatMulInt8Grad";
  static constexpr const char* kProvider = kCudaProvider;
  static constexpr Port kInputs[] = {{TensorTypeOf(kElement)},
                                     {ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED},
                                     {ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED}};
  static constexpr Port kOutputs[] = {{TensorTypeOf(kElement)}};

  explicit MatMulInt8Grad(const KernelInfo& info);
  void Compute(KernelContext& context) const;

 private:
  DeviceQuantizedWeight weight_;
  DeviceCompute compute_;
};

}  // namespace ortqlora::cuda

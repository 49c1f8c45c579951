#pragma once

#include "common/cuda/ort_element.h"
#include "common/ort_op.h"
#include "ops/lora_linear/cuda/lora_linear_cuda.h"
#include "ops/matmul_int8/cuda/device_quantized_weight.h"

namespace ortqlora::cuda {

// LoraLinear on the device (lora_linear.h): x, addend, y and h of float, float16 or bfloat16, A and B float, scale and bias
// any.
template <Element kElement>
class LoraLinear {
 public:
  static constexpr const char* kName = "LoraLinear";
  static constexpr const char* kProvider = kCudaProvider;
  static constexpr Port kInputs[] = {{TensorTypeOf(kElement)},
                                     kAnyPort,
                                     kAnyPort,
                                     kFloatPort,
                                     kFloatPort,
                                     kOptionalAnyPort,
                                     {TensorTypeOf(kElement), true}};
  static constexpr Port kOutputs[] = {{TensorTypeOf(kElement)}, {TensorTypeOf(kElement)}};

  explicit LoraLinear(const KernelInfo& info);
  void Compute(KernelContext& context) const;

 private:
  DeviceQuantizedWeight weight_;
  float scaling_;
  DeviceCompute compute_;
};

// LoraLinearGrad on the device: dy, x, h and dx's addend of one type, the addends of dA and dB float -> dA, dB float and,
// where asked for, dx of dy's type.
template <Element kElement>
class LoraLinearGrad {
 public:
  static constexpr const char* kName = "LoraLinearGrad";
  static constexpr const char* kProvider = kCudaProvider;
  static constexpr Port kInputs[] = {{TensorTypeOf(kElement)},
                                     {TensorTypeOf(kElement)},
                                     {TensorTypeOf(kElement)},
                                     kAnyPort,
                                     kAnyPort,
                                     kFloatPort,
                                     kFloatPort,
                                     {TensorTypeOf(kElement), true},
                                     kOptionalFloatPort,
                                     kOptionalFloatPort};
  static constexpr Port kOutputs[] = {kFloatPort, kFloatPort, {TensorTypeOf(kElement), true}};

  explicit LoraLinearGrad(const KernelInfo& info);
  void Compute(KernelContext& context) const;

 private:
  DeviceQuantizedWeight weight_;
  float scaling_;
  DeviceCompute compute_;
};

}  // namespace ortqlora::cuda

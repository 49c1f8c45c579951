#pragma once

#include "common/cuda/ort_element.h"
#include "common/ort_op.h"
#include "ops/normalization/normalization_cuda.h"

namespace ortqlora::cuda {

// RmsNorm, LayerNorm and their gradients on the device (normalization_cuda.h): x and y of float, float16 or
// bfloat16; weight and bias of x's type or float, their gradients of weight's type; statistics float.
template <Element kElement, Element kWeight>
class RmsNorm {
 public:
  static constexpr const char* kName = "RmsNorm";
  static constexpr const char* kProvider = kCudaProvider;
  static constexpr Port kInputs[] = {{TensorTypeOf(kElement)}, {TensorTypeOf(kWeight)}};
  static constexpr Port kOutputs[] = {{TensorTypeOf(kElement)}, kFloatPort};

  explicit RmsNorm(const KernelInfo& info);
  void Compute(KernelContext& context) const;

 private:
  float epsilon_;
};

// dy, x, weight, inv and perhaps an addend of dx -> dx, and dweight where asked for.
template <Element kElement, Element kWeight>
class RmsNormGrad {
 public:
  static constexpr const char* kName = "RmsNormGrad";
  static constexpr const char* kProvider = kCudaProvider;
  static constexpr Port kInputs[] = {{TensorTypeOf(kElement)},
                                     {TensorTypeOf(kElement)},
                                     {TensorTypeOf(kWeight)},
                                     kFloatPort,
                                     {TensorTypeOf(kElement), true}};
  static constexpr Port kOutputs[] = {{TensorTypeOf(kElement)}, {TensorTypeOf(kWeight), true}};

  explicit RmsNormGrad(const KernelInfo& info);
  void Compute(KernelContext& context) const;
};

template <Element kElement, Element kWeight>
class LayerNorm {
 public:
  static constexpr const char* kName = "LayerNorm";
  static constexpr const char* kProvider = kCudaProvider;
  static constexpr Port kInputs[] = {
      {TensorTypeOf(kElement)}, {TensorTypeOf(kWeight)}, {TensorTypeOf(kWeight), true}};
  static constexpr Port kOutputs[] = {{TensorTypeOf(kElement)}, kFloatPort, kFloatPort};

  explicit LayerNorm(const KernelInfo& info);
  void Compute(KernelContext& context) const;

 private:
  float epsilon_;
};

// dy, x, weight, mean, inv and perhaps an addend of dx -> dx, and dweight and dbias where asked for.
template <Element kElement, Element kWeight>
class LayerNormGrad {
 public:
  static constexpr const char* kName = "LayerNormGrad";
  static constexpr const char* kProvider = kCudaProvider;
  static constexpr Port kInputs[] = {{TensorTypeOf(kElement)},
                                     {TensorTypeOf(kElement)},
                                     {TensorTypeOf(kWeight)},
                                     kFloatPort,
                                     kFloatPort,
                                     {TensorTypeOf(kElement), true}};
  static constexpr Port kOutputs[] = {
      {TensorTypeOf(kElement)}, {TensorTypeOf(kWeight), true}, {TensorTypeOf(kWeight), true}};

  explicit LayerNormGrad(const KernelInfo& info);
  void Compute(KernelContext& context) const;
};

}  // namespace ortqlora::cuda

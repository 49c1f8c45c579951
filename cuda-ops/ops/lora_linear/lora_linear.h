#pragma once

#include <optional>
#include <vector>

#include "common/ort_op.h"
#include "ops/lora_linear/lora_linear_cpu.h"
#include "ops/matmul_int8/quantized_weight.h"

namespace ortqlora {

// y[..., N] = x[..., K] * What + h * B^T + bias + addend[..., N] with h[..., r] = scaling * x * A^T: a linear
// layer over an int8 weight with its LoRA branch, in float.
//   q, scale and the attributes K, N, layout and compute as MatMulInt8's; A[r, K], B[N, r], bias[N] float;
//   scaling float; bias and addend may be left out.
class LoraLinear {
 public:
  static constexpr const char* kName = "LoraLinear";
  static constexpr Port kInputs[] = {
      {ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT},      {ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED},
      {ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED},  {ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT},
      {ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT},      {ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, true},
      {ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, true}};
  static constexpr Port kOutputs[] = {{ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT},
                                      {ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT}};

  explicit LoraLinear(const KernelInfo& info);
  void Compute(KernelContext& context) const;
  static void InferShapes(ShapeInference& shapes);

 private:
  QuantizedWeight weight_;
  float scaling_;
  LoraLinearKernel kernel_;
};

// Gradients of LoraLinear by A, B and, where asked for, x. No gradient goes to the frozen weight; the bias's
// is the sum of dy over its rows. Three optional inputs, of the shapes of dx, dA and dB, are added to those;
// that of dA or dB may be the very memory of the output.
class LoraLinearGrad {
 public:
  static constexpr const char* kName = "LoraLinearGrad";
  static constexpr Port kInputs[] = {
      {ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT},       {ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT},
      {ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT},       {ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED},
      {ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED},   {ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT},
      {ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT},       {ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, true},
      {ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, true}, {ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, true}};
  static constexpr Port kOutputs[] = {{ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT},
                                      {ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT},
                                      {ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, true}};

  explicit LoraLinearGrad(const KernelInfo& info);
  void Compute(KernelContext& context) const;
  static void InferShapes(ShapeInference& shapes);

 private:
  QuantizedWeight weight_;
  float scaling_;
  LoraLinearKernel kernel_;
};

}  // namespace ortqlora

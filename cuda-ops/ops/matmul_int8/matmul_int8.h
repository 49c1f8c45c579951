#pragma once

#include <optional>
#include <vector>

#include "common/ort_op.h"
#include "ops/matmul_int8/gemm.h"
#include "ops/matmul_int8/quantized_weight.h"

namespace ortqlora {

constexpr ElementType TypeOf(Element element) {
  return element == Element::kFloat ? ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT
                                    : ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16;
}

// y[..., N] = x[..., K] * What + bias, with What[k, n] = q[k, n] * scale[n].
//   x float or float16, y of the same type; q int8 [K, N], or uint8 in layout eetq_sm80; scale and the
//   optional bias [N] float or float16.
//   Attributes: K, N int; layout 'plain' (default) or 'eetq_sm80'; compute 'auto' (default), 'fp32', 'bf16',
//   'int16' or 'int8'.
template <Element kElement>
class MatMulInt8 {
 public:
  static constexpr const char* kName = "MatMulInt8";
  static constexpr Port kInputs[] = {{TypeOf(kElement)},
                                     {ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED},
                                     {ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED},
                                     {ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED, true}};
  static constexpr Port kOutputs[] = {{TypeOf(kElement)}};

  explicit MatMulInt8(const KernelInfo& info);
  void Compute(KernelContext& context) const;
  static void InferShapes(ShapeInference& shapes);

 private:
  QuantizedWeight weight_;
  Int8Gemm gemm_;
  std::optional<std::vector<float>> bias_;
};

// dx[..., K] = dy[..., N] * What^T: the gradient of MatMulInt8 with respect to x, with the same attributes.
template <Element kElement>
class MatMulInt8Grad {
 public:
  static constexpr const char* kName = "MatMulInt8Grad";
  static constexpr Port kInputs[] = {{TypeOf(kElement)},
                                     {ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED},
                                     {ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED}};
  static constexpr Port kOutputs[] = {{TypeOf(kElement)}};

  explicit MatMulInt8Grad(const KernelInfo& info);
  void Compute(KernelContext& context) const;
  static void InferShapes(ShapeInference& shapes);

 private:
  QuantizedWeight weight_;
  Int8Gemm gemm_;
};

}  // namespace ortqlora

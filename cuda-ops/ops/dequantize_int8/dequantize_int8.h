#pragma once

#include "common/ort_op.h"
#include "ops/matmul_int8/matmul_int8.h"

namespace ortqlora {

// What[K, N] = q * scale, of scale's type. Inputs q and scale and attributes K, N and layout as MatMulInt8's.
template <Element kElement>
class DequantizeInt8 {
 public:
  static constexpr const char* kName = "DequantizeInt8";
  static constexpr Port kInputs[] = {{ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED}, {TypeOf(kElement)}};
  static constexpr Port kOutputs[] = {{TypeOf(kElement)}};

  explicit DequantizeInt8(const KernelInfo& info);
  void Compute(KernelContext& context) const;
  static void InferShapes(ShapeInference& shapes);

 private:
  WeightAttributes attributes_;
};

}  // namespace ortqlora

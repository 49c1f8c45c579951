#pragma once

#include "common/ort_op.h"
#include "ops/cross_entropy/cross_entropy_cpu.h"

namespace ortqlora {

// loss[] = mean over labels other than ignore_index of -log softmax(x * weight + bias)[label], and its
// gradient by x.
//   x[..., K]; weight[K, V], or [V, K] with transposed = 1; labels[...] int64; bias[V].
//   Attributes: transposed int (0), ignore_index int (-100), compute as MatMulInt8's.
class LinearCrossEntropy {
 public:
  static constexpr const char* kName = "LinearCrossEntropy";
  static constexpr Port kInputs[] = {
      kFloatPort, kFloatPort, {ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64}, kOptionalFloatPort};
  static constexpr Port kOutputs[] = {kFloatPort, kOptionalFloatPort};

  explicit LinearCrossEntropy(const KernelInfo& info);
  void Compute(KernelContext& context) const;
  static void InferShapes(ShapeInference& shapes);

 private:
  bool transposed_;
  int64_t ignored_;
  LinearCrossEntropyKernel kernel_;
};

}  // namespace ortqlora

#pragma once

#include "common/cuda/ort_element.h"
#include "common/ort_op.h"

namespace ortqlora::cuda {

// AdamW on the device (adamw_cuda.h): p, g, m, v of one shape, rate and factor float, step int64 scalars ->
// p, m, v.
class AdamW {
 public:
  static constexpr const char* kName = "AdamW";
  static constexpr const char* kProvider = kCudaProvider;
  static constexpr Port kInputs[] = {kFloatPort,        kFloatPort, kFloatPort,
                                     kFloatPort,        kFloatPort, {ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64},
                                     kOptionalFloatPort};
  static constexpr Port kOutputs[] = {kFloatPort, kFloatPort, kFloatPort};

  explicit AdamW(const KernelInfo& info);
  void Compute(KernelContext& context) const;

 private:
  float beta1_, beta2_, epsilon_, weight_decay_;
};

// x -> y: the sum of squares in float64.
class SquaredNorm {
 public:
  static constexpr const char* kName = "SquaredNorm";
  static constexpr const char* kProvider = kCudaProvider;
  static constexpr Port kInputs[] = {kFloatPort};
  static constexpr Port kOutputs[] = {{ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE}};

  explicit SquaredNorm(const KernelInfo&) {}
  void Compute(KernelContext& context) const;
};

}  // namespace ortqlora::cuda

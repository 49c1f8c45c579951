#pragma once

#include <memory>
#include <mutex>

#include "common/cuda/device.h"
#include "common/ort_kernel.h"
#include "ops/matmul_int8/cuda/gemm_cuda.h"
#include "ops/matmul_int8/quantized_weight.h"

namespace ortqlora::cuda {

// The inputs `q` and `scale` of an op on the device. Constant ones are prepared by the first run, on its
// stream: a weight in layout tile64 is read where it is, another is packed, and the packed copy shared with
// every kernel that reads the same initializer (forward and gradient, training and evaluation session over
// shared weights).
class DeviceQuantizedWeight {
 public:
  DeviceQuantizedWeight(const KernelInfo& info, size_t q, size_t scale);

  const WeightAttributes& attributes() const { return attributes_; }

  // Bytes that Get needs for what is no constant.
  int64_t scratch() const;

  struct Ready {
    DeviceBlocks blocks;
    ScaleView scale = {};
    bool frozen = false;
  };
  // `scratch` holds scratch() bytes, aligned to 256, until the work on the stream is done.
  Ready Get(const KernelContext& context, void* scratch, void* stream) const;

 private:
  struct Prepared;

  WeightAttributes attributes_;
  size_t q_index_, scale_index_;
  bool constant_q_, constant_scale_;
  int64_t padded_k_, padded_n_;
  std::shared_ptr<Prepared> prepared_;
};

// bf16 terms that a float row becomes in the compute mode of attribute `compute`.
int FloatTerms(const KernelInfo& info);

// A product with `quantized` as far as it is known before its memory: sizes, but no pointers.
DeviceGemmCall GemmCallOf(const DeviceQuantizedWeight& quantized, Direction direction, Element element,
                          int float_terms, int64_t rows);

// The weight, scale and bias of a product (`bias` may be without data) in `scratch`, of BoundScratch bytes.
int64_t BoundScratch(const DeviceQuantizedWeight& quantized, const TensorView& bias);
void BindWeight(const KernelContext& context, const DeviceQuantizedWeight& quantized, const TensorView& bias,
                void* scratch, void* stream, DeviceGemmCall& call);

}  // namespace ortqlora::cuda

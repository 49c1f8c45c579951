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

  // Whether the weight is known when the session is created.
  bool constant() const { return constant_q_; }
  // A constant weight laid out for int8 products, by the first call and shared as packed ones are.
  const int8_t* Int8(const DeviceBlocks& blocks, Direction direction, void* stream) const;

 private:
  struct Prepared;

  WeightAttributes attributes_;
  size_t q_index_, scale_index_;
  bool constant_q_, constant_scale_;
  int64_t padded_k_, padded_n_;
  std::shared_ptr<Prepared> prepared_;
};

// How products compute, from attribute `compute`.
struct DeviceCompute {
  int float_terms = 1;  // bf16 terms that a float row becomes
  bool int8 = false;    // half-precision rows are rounded to 8 bits where that is faster

  // Throws Error for a mode that the device has no kernel for with rows of this element.
  DeviceCompute(const KernelInfo& info, Element element);
};

// A product with `quantized` as far as it is known before its memory: sizes, but no pointers.
DeviceGemmCall GemmCallOf(const DeviceQuantizedWeight& quantized, Direction direction, Element element,
                          const DeviceCompute& compute, int64_t rows);

// The weight, scale and bias of a product (`bias` may be without data) in `scratch`, of BoundScratch bytes.
int64_t BoundScratch(const DeviceQuantizedWeight& quantized, const TensorView& bias);
void BindWeight(const KernelContext& context, const DeviceQuantizedWeight& quantized, const TensorView& bias,
                const GemmPlan& plan, void* scratch, void* stream, DeviceGemmCall& call);

}  // namespace ortqlora::cuda

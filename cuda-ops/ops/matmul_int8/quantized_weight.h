#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "common/ort_kernel.h"
#include "ops/matmul_int8/packed_weight.h"

namespace ortqlora {

// Attributes K, N and layout, which every op with an int8 weight has.
struct WeightAttributes {
  int64_t k;
  int64_t n;
  WeightLayout layout;

  explicit WeightAttributes(const KernelInfo& info);
};

// Throws Error unless a weight `q` of this type and shape fits the attributes; what is not known yet passes.
void CheckWeight(const WeightAttributes& attributes, const TensorInfo& q);
// The same for a vector of `size` floats, fp32 or fp16.
void CheckVector(const char* name, int64_t size, const TensorInfo& vector);

WeightSource SourceOf(const WeightAttributes& attributes, const TensorView& q);

// A vector input as fp32.
std::vector<float> FloatVector(const TensorView& vector);

// The inputs `q` and `scale` of an op: checked when the session is created; constant ones are packed then,
// and shared with every other kernel of the same weight. A weight in layout panel64 is read where it is.
class QuantizedWeight {
 public:
  // Indices of the two inputs.
  QuantizedWeight(const KernelInfo& info, size_t q, size_t scale);

  const WeightAttributes& attributes() const { return attributes_; }

  // Ready for a product: what was prepared, or (slow) packed from this call's inputs.
  struct Ready {
    std::shared_ptr<const PackedWeight> weight;
    const float* scale;
    std::vector<float> call_scale;  // holds `scale` where that is not constant
  };
  Ready Get(const KernelContext& context) const;

 private:
  WeightAttributes attributes_;
  size_t q_index_, scale_index_;
  std::shared_ptr<const PackedWeight> weight_;
  std::optional<std::vector<float>> scale_;
};

}  // namespace ortqlora

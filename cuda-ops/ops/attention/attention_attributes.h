#pragma once

#include <vector>

#include "common/ort_kernel.h"
#include "ops/attention/attention_shape.h"

namespace ortqlora {

// What Attention and AttentionGrad share on every provider: attributes, and the checks of their inputs.
class AttentionAttributes {
 public:
  explicit AttentionAttributes(const KernelInfo& info);

  // Shape and strides of tensors that fit; throws Error for others.
  AttentionShape Check(const TensorInfo& q, const TensorInfo& k, const TensorInfo& v) const;
  // [batch, heads, queries, value size] as the layout orders it.
  std::vector<int64_t> OutputShape(const AttentionShape& shape) const;
  // A mask that broadcasts to [batch, heads, queries, keys]; none where it is left out.
  static AttentionMask CheckMask(const AttentionShape& shape, const TensorView& mask);
  // That dy, y and lse are of the shapes the forward pass gives.
  void CheckResults(const AttentionShape& shape, const TensorInfo& dy, const TensorInfo& y,
                    const TensorInfo& lse) const;
  // At session creation: what the declared types and shapes show.
  void CheckDeclared(const TensorInfo& q, const TensorInfo& k, const TensorInfo& v,
                     const TensorInfo& mask) const;

 private:
  bool sequence_first_;
  bool causal_;
  float scale_;
};

}  // namespace ortqlora

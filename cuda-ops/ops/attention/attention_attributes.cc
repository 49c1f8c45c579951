#include "ops/attention/attention_attributes.h"

#include <cmath>

#include "common/error.h"
#include "common/shape_check.h"
#include "ops/attention/head_layout.h"

namespace ortqlora {
namespace {

constexpr ElementType kFloat = ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
constexpr ElementType kBool = ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL;

HeadStrides StridesOf(const std::vector<int64_t>& shape, bool sequence_first) {
  const int64_t size = shape[3];
  return sequence_first ? HeadStrides{shape[1] * shape[2] * size, size, shape[2] * size}
                        : HeadStrides{shape[1] * shape[2] * size, shape[2] * size, size};
}

void CheckMaskType(const TensorInfo& mask) {
  if (mask.type == ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED || mask.type == kFloat || mask.type == kBool)
    return;
  Fail("mask is ", ElementTypeName(mask.type), ", expected float or bool.");
}

}  // namespace

AttentionAttributes::AttentionAttributes(const KernelInfo& info)
    : sequence_first_(IsSequenceFirst(info)),
      causal_(info.Integer("causal", 0) != 0),
      scale_(info.Float("scale")) {
  if (!std::isfinite(scale_)) Fail("attribute scale is ", scale_, ", expected a finite number.");
}

AttentionShape AttentionAttributes::Check(const TensorInfo& q, const TensorInfo& k,
                                          const TensorInfo& v) const {
  CheckShape("q", q, {-1, -1, -1, -1});
  const int64_t batch = q.shape[0], size = q.shape[3];
  CheckShape("k", k, {batch, -1, -1, size});
  CheckShape("v", v, {batch, k.shape[1], k.shape[2], -1});
  const size_t head_axis = sequence_first_ ? 2 : 1, position_axis = sequence_first_ ? 1 : 2;
  AttentionShape shape{};
  shape.batch = batch;
  shape.heads = q.shape[head_axis];
  shape.groups = k.shape[head_axis];
  shape.queries = q.shape[position_axis];
  shape.keys = k.shape[position_axis];
  shape.size = size;
  shape.value_size = v.shape[3];
  shape.scale = scale_;
  shape.causal = causal_;
  if (shape.groups == 0 ? shape.heads != 0 : shape.heads % shape.groups != 0) {
    Fail("q has ", shape.heads, " heads and k and v have ", shape.groups,
         ", expected a multiple of these: shapes ", ShapeText(q.shape), " and ", ShapeText(k.shape), ".");
  }
  shape.q = StridesOf(q.shape, sequence_first_);
  shape.k = StridesOf(k.shape, sequence_first_);
  shape.v = StridesOf(v.shape, sequence_first_);
  shape.y = StridesOf(OutputShape(shape), sequence_first_);
  return shape;
}

std::vector<int64_t> AttentionAttributes::OutputShape(const AttentionShape& shape) const {
  if (sequence_first_) return {shape.batch, shape.queries, shape.heads, shape.value_size};
  return {shape.batch, shape.heads, shape.queries, shape.value_size};
}

AttentionMask AttentionAttributes::CheckMask(const AttentionShape& shape, const TensorView& mask) {
  AttentionMask result;
  if (mask.data == nullptr) return result;
  CheckMaskType(mask.info);
  const int64_t whole[4] = {shape.batch, shape.heads, shape.queries, shape.keys};
  const std::vector<int64_t>& sizes = mask.info.shape;
  int64_t strides[4] = {};
  bool fits = sizes.size() <= 4;
  int64_t stride = 1;
  for (size_t i = sizes.size(); fits && i-- > 0;) {
    const size_t axis = 4 - sizes.size() + i;
    fits = sizes[i] == 1 || sizes[i] == whole[axis];
    strides[axis] = sizes[i] == 1 ? 0 : stride;
    stride *= sizes[i];
  }
  if (!fits) {
    Fail("mask has the shape ", ShapeText(sizes), ", expected one that broadcasts to ",
         ShapeText({shape.batch, shape.heads, shape.queries, shape.keys}), ".");
  }
  if (mask.info.type == kFloat) {
    result.added = mask.As<float>();
  } else {
    result.visible = mask.As<uint8_t>();
  }
  result.batch = strides[0];
  result.head = strides[1];
  result.query = strides[2];
  result.key = strides[3];
  return result;
}

void AttentionAttributes::CheckResults(const AttentionShape& shape, const TensorInfo& dy, const TensorInfo& y,
                                       const TensorInfo& lse) const {
  TensorInfo expected = y;
  expected.shape = OutputShape(shape);
  CheckSameShape("y", y, "the output", expected);
  CheckSameShape("dy", dy, "y", y);
  CheckShape("lse", lse, {shape.batch, shape.heads, shape.queries});
}

void AttentionAttributes::CheckDeclared(const TensorInfo& q, const TensorInfo& k, const TensorInfo& v,
                                        const TensorInfo& mask) const {
  CheckMaskType(mask);
  CheckShape("q", q, {-1, -1, -1, -1});
  CheckShape("k", k, {-1, -1, -1, q.has_shape ? q.shape[3] : -1});
  CheckShape("v", v, {-1, -1, -1, -1});
  if (q.has_shape && k.has_shape && v.has_shape && q.fully_known() && k.fully_known() && v.fully_known())
    Check(q, k, v);
}

}  // namespace ortqlora

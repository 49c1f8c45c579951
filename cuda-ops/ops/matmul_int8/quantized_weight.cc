#include "ops/matmul_int8/quantized_weight.h"

#include "common/error.h"
#include "common/half.h"
#include "ops/matmul_int8/weight_registry.h"

namespace ortqlora {
namespace {

// A constant weight where it stands, if that is how kernels read it, else the shared packed copy.
std::shared_ptr<const PackedWeight> ConstantWeight(const WeightSource& source) {
  if (auto weight = PackedWeight::InPlace(source)) {
    return std::make_shared<const PackedWeight>(std::move(*weight));
  }
  return SharedPackedWeight(source);
}

}  // namespace

WeightAttributes::WeightAttributes(const KernelInfo& info)
    : k(info.Integer("K")), n(info.Integer("N")), layout(ParseLayout(info.String("layout", "plain"))) {
  // Throws where the size makes no sense.
  static_cast<void>(WeightSource{nullptr, layout, k, n}.size());
}

void CheckWeight(const WeightAttributes& attributes, const TensorInfo& q) {
  const bool plain = attributes.layout == WeightLayout::kPlain;
  const bool int8 = q.type == ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8;
  // EETQ checkpoints label the biased bytes int8, so both types mean the same bytes there.
  const bool type_fits = plain ? int8 : int8 || q.type == ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8;
  if (!type_fits) {
    Fail("q is ", ElementTypeName(q.type), ", expected ", plain ? "int8" : "uint8", " for layout '",
         LayoutName(attributes.layout), "'.");
  }
  if (!q.fully_known()) return;
  const int64_t pad = PaddingOf(attributes.layout);
  const int64_t k = RoundUp(attributes.k, pad), n = RoundUp(attributes.n, pad);
  const bool matrix = q.shape.size() == 2 && q.shape[0] == k && q.shape[1] == n;
  const bool flat = !plain && q.shape.size() == 1 && q.shape[0] == k * n;
  if (matrix || flat) return;
  Fail("q has the shape ", ShapeText(q.shape), ", expected [", k, ", ", n, "] for K = ", attributes.k,
       ", N = ", attributes.n, " in layout '", LayoutName(attributes.layout), "'.");
}

void CheckVector(const char* name, int64_t size, const TensorInfo& vector) {
  if (vector.type != ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT &&
      vector.type != ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16) {
    Fail(name, " is ", ElementTypeName(vector.type), ", expected float or float16.");
  }
  if (!vector.fully_known() || (vector.shape.size() == 1 && vector.shape[0] == size)) return;
  Fail(name, " has the shape ", ShapeText(vector.shape), ", expected [", size, "].");
}

WeightSource SourceOf(const WeightAttributes& attributes, const TensorView& q) {
  return {q.data, attributes.layout, attributes.k, attributes.n};
}

std::vector<float> FloatVector(const TensorView& vector) {
  std::vector<float> values(static_cast<size_t>(vector.info.size()));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = vector.info.type == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT
                    ? vector.As<float>()[i]
                    : HalfToFloat(vector.As<uint16_t>()[i]);
  }
  return values;
}

QuantizedWeight::QuantizedWeight(const KernelInfo& info, size_t q, size_t scale)
    : attributes_(info), q_index_(q), scale_index_(scale) {
  CheckWeight(attributes_, info.Input(q));
  CheckVector("scale", attributes_.n, info.Input(scale));
  if (const auto constant = info.ConstantInput(scale)) {
    CheckVector("scale", attributes_.n, constant->info);
    scale_ = FloatVector(*constant);
  }
  if (const auto constant = info.ConstantInput(q)) {
    CheckWeight(attributes_, constant->info);
    weight_ = ConstantWeight(SourceOf(attributes_, *constant));
  }
}

QuantizedWeight::Ready QuantizedWeight::Get(const KernelContext& context) const {
  Ready ready{weight_, nullptr, {}};
  if (ready.weight == nullptr) {
    const TensorView q = context.Input(q_index_);
    CheckWeight(attributes_, q.info);
    const WeightSource source = SourceOf(attributes_, q);
    auto weight = PackedWeight::InPlace(source);
    ready.weight = weight.has_value() ? std::make_shared<const PackedWeight>(std::move(*weight))
                                      : std::make_shared<const PackedWeight>(source);
  }
  if (scale_.has_value()) {
    ready.scale = scale_->data();
  } else {
    const TensorView scale = context.Input(scale_index_);
    CheckVector("scale", attributes_.n, scale.info);
    ready.call_scale = FloatVector(scale);
    ready.scale = ready.call_scale.data();
  }
  return ready;
}

}  // namespace ortqlora

#include "ops/matmul_int8/matmul_int8.h"

#include "common/error.h"

namespace ortqlora {
namespace {

// Inputs of both ops; the bias is MatMulInt8's alone.
constexpr size_t kRows = 0, kWeight = 1, kScale = 2, kBias = 3;

Int8Gemm MakeGemm(const KernelInfo& info) {
  return Int8Gemm(SelectCpuPath(), ParseCompute(info.String("compute", "auto")));
}

// The last dimension must be `size`; every other one counts rows.
void CheckRows(const char* name, const char* attribute, int64_t size, const TensorInfo& rows) {
  if (!rows.has_shape) return;
  if (rows.shape.empty())
    Fail(name, " is a scalar, expected [..., ", attribute, "] with ", attribute, " = ", size, ".");
  if (rows.shape.back() < 0 || rows.shape.back() == size) return;
  Fail(name, " has the shape ", ShapeText(rows.shape), ", expected a last dimension of ", attribute, " = ",
       size, ".");
}

int64_t RowCount(const TensorInfo& info) {
  int64_t rows = 1;
  for (size_t i = 0; i + 1 < info.shape.size(); ++i) rows *= info.shape[i];
  return rows;
}

void Multiply(KernelContext& context, const Int8Gemm& gemm, const QuantizedWeight& quantized,
              Direction direction, Element element, const float* bias) {
  const bool forward = direction == Direction::kForward;
  const WeightAttributes& attributes = quantized.attributes();
  const TensorView in = context.Input(kRows);
  CheckRows(forward ? "x" : "dy", forward ? "K" : "N", forward ? attributes.k : attributes.n, in.info);
  std::vector<int64_t> shape = in.info.shape;
  shape.back() = forward ? attributes.n : attributes.k;

  const QuantizedWeight::Ready ready = quantized.Get(context);
  GemmCall call;
  call.direction = direction;
  call.element = element;
  call.weight = ready.weight.get();
  call.scale = ready.scale;
  call.bias = bias;
  call.in = in.data;
  call.out = context.Output(0, shape);
  call.rows = RowCount(in.info);
  gemm.Run(call, context);
}

void InferLastDimension(ShapeInference& shapes, const char* attribute) {
  auto shape = shapes.Input(kRows);
  const int64_t size = shapes.Integer(attribute);
  if (!shape.has_value() || size < 0) return;
  shape->back() = {size, ""};
  shapes.SetOutput(0, shapes.InputType(kRows), *shape);
}

}  // namespace

template <Element kElement>
MatMulInt8<kElement>::MatMulInt8(const KernelInfo& info)
    : weight_(info, kWeight, kScale), gemm_(MakeGemm(info)) {
  CheckRows("x", "K", weight_.attributes().k, info.Input(kRows));
  const TensorInfo bias = info.Input(kBias);
  if (bias.type != ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED) CheckVector("bias", weight_.attributes().n, bias);
  if (const auto constant = info.ConstantInput(kBias)) bias_ = FloatVector(*constant);
}

template <Element kElement>
void MatMulInt8<kElement>::Compute(KernelContext& context) const {
  std::vector<float> call_bias;
  const float* bias = bias_.has_value() ? bias_->data() : nullptr;
  if (const TensorView input = context.Input(kBias); bias == nullptr && input.data != nullptr) {
    CheckVector("bias", weight_.attributes().n, input.info);
    call_bias = FloatVector(input);
    bias = call_bias.data();
  }
  Multiply(context, gemm_, weight_, Direction::kForward, kElement, bias);
}

template <Element kElement>
void MatMulInt8<kElement>::InferShapes(ShapeInference& shapes) {
  InferLastDimension(shapes, "N");
}

template <Element kElement>
MatMulInt8Grad<kElement>::MatMulInt8Grad(const KernelInfo& info)
    : weight_(info, kWeight, kScale), gemm_(MakeGemm(info)) {
  CheckRows("dy", "N", weight_.attributes().n, info.Input(kRows));
}

template <Element kElement>
void MatMulInt8Grad<kElement>::Compute(KernelContext& context) const {
  Multiply(context, gemm_, weight_, Direction::kGradient, kElement, nullptr);
}

template <Element kElement>
void MatMulInt8Grad<kElement>::InferShapes(ShapeInference& shapes) {
  InferLastDimension(shapes, "K");
}

template class MatMulInt8<Element::kFloat>;
template class MatMulInt8<Element::kHalf>;
template class MatMulInt8Grad<Element::kFloat>;
template class MatMulInt8Grad<Element::kHalf>;

}  // namespace ortqlora

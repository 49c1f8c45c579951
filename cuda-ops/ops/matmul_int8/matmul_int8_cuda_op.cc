#include "ops/matmul_int8/matmul_int8_cuda_op.h"

#include "common/cuda/check.h"
#include "common/error.h"

namespace ortqlora::cuda {
namespace {

constexpr size_t kRows = 0, kWeight = 1, kScale = 2, kBias = 3;

// bf16 terms that a float row becomes.
int FloatTerms(const KernelInfo& info) {
  const std::string compute = info.String("compute", "auto");
  if (compute == "fp32") return 3;
  if (compute == "int16") return 2;
  if (compute == "bf16" || compute == "auto") return 1;
  if (compute == "int8") {
    Fail(
        "compute mode 'int8' has no CUDA kernel; use 'auto', 'bf16', 'int16' or 'fp32' (--compute) on CUDA "
        "devices.");
  }
  Fail("attribute compute is '", compute, "', expected 'auto', 'fp32', 'bf16', 'int16' or 'int8'.");
}

void CheckRows(Direction direction, const WeightAttributes& attributes, const TensorInfo& rows) {
  if (!rows.has_shape) return;
  const bool forward = direction == Direction::kForward;
  const int64_t width = forward ? attributes.k : attributes.n;
  if (!rows.shape.empty() && (rows.shape.back() < 0 || rows.shape.back() == width)) return;
  Fail(forward ? "x" : "dy", " has the shape ", ShapeText(rows.shape), ", expected a last dimension of ",
       forward ? "K" : "N", " = ", width, ".");
}

void Multiply(KernelContext& context, const DeviceQuantizedWeight& quantized, Direction direction,
              Element element, int float_terms) {
  const bool forward = direction == Direction::kForward;
  const WeightAttributes& attributes = quantized.attributes();
  const TensorView in = context.Input(kRows), bias = forward ? context.Input(kBias) : TensorView{};
  CheckRows(direction, attributes, in.info);
  if (bias.data != nullptr && (bias.info.shape.size() != 1 || bias.info.shape[0] != attributes.n)) {
    Fail("bias has the shape ", ShapeText(bias.info.shape), ", expected [", attributes.n, "].");
  }
  std::vector<int64_t> shape = in.info.shape;
  shape.back() = forward ? attributes.n : attributes.k;

  DeviceGemmCall call;
  call.direction = direction;
  call.element = element;
  call.float_terms = float_terms;
  call.weight.k = attributes.k;
  call.weight.n = attributes.n;
  call.weight.padded_k = RoundUp(attributes.k, kTile64Pad);
  call.weight.padded_n = RoundUp(attributes.n, kTile64Pad);
  call.in = in.data;
  call.out = context.Output(0, shape);
  call.rows = 1;
  for (size_t i = 0; i + 1 < shape.size(); ++i) call.rows *= shape[i];

  const Device& device = Device::Current();
  const GemmPlan plan = PlanGemm(call, device);
  const bool convert_bias = bias.data != nullptr && bias.info.type != ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
  const int64_t bias_bytes = convert_bias ? RoundUp(attributes.n * 4, 256) : 0;
  const auto stream = static_cast<cudaStream_t>(context.Stream());
  const ScratchMemory scratch =
      context.Scratch(static_cast<size_t>(RoundUp(plan.workspace(), 256) + bias_bytes + quantized.scratch()));
  auto* free = static_cast<char*>(scratch.data());
  void* workspace = free;
  free += RoundUp(plan.workspace(), 256);
  if (convert_bias) {
    LaunchToFloat(bias.data, VectorTypeOf(bias.info), attributes.n, reinterpret_cast<float*>(free), stream);
    call.bias = reinterpret_cast<const float*>(free);
    free += bias_bytes;
  } else {
    call.bias = bias.As<float>();
  }
  const DeviceQuantizedWeight::Ready ready = quantized.Get(context, free, stream);
  call.weight = ready.blocks;
  call.scale = ready.scale;
  call.frozen_weight = ready.frozen;
  RunGemm(call, plan, device, workspace, stream);
}

}  // namespace

template <Element kElement>
MatMulInt8<kElement>::MatMulInt8(const KernelInfo& info)
    : weight_(info, kWeight, kScale), float_terms_(FloatTerms(info)) {
  CheckRows(Direction::kForward, weight_.attributes(), info.Input(kRows));
}

template <Element kElement>
void MatMulInt8<kElement>::Compute(KernelContext& context) const {
  Multiply(context, weight_, Direction::kForward, kElement, float_terms_);
}

template <Element kElement>
MatMulInt8Grad<kElement>::MatMulInt8Grad(const KernelInfo& info)
    : weight_(info, kWeight, kScale), float_terms_(FloatTerms(info)) {
  CheckRows(Direction::kGradient, weight_.attributes(), info.Input(kRows));
}

template <Element kElement>
void MatMulInt8Grad<kElement>::Compute(KernelContext& context) const {
  Multiply(context, weight_, Direction::kGradient, kElement, float_terms_);
}

template class MatMulInt8<Element::kFloat>;
template class MatMulInt8<Element::kHalf>;
template class MatMulInt8<Element::kBfloat16>;
template class MatMulInt8Grad<Element::kFloat>;
template class MatMulInt8Grad<Element::kHalf>;
template class MatMulInt8Grad<Element::kBfloat16>;

}  // namespace ortqlora::cuda

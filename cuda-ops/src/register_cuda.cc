#include <algorithm>
#include <cstring>
#include <exception>

#include "common/cuda/device.h"
#include "cuda_entries.h"
#include "ops/adamw/adamw_cuda_op.h"
#include "ops/attention/attention_cuda_op.h"
#include "ops/cross_entropy/cross_entropy_cuda_op.h"
#include "ops/dequantize_int8/dequantize_int8_cuda_op.h"
#include "ops/gelu/gelu_cuda_op.h"
#include "ops/lora_linear/lora_linear_cuda_op.h"
#include "ops/matmul_int8/matmul_int8_cuda_op.h"
#include "ops/normalization/normalization_cuda_op.h"
#include "ops/rotary/rotary_cuda_op.h"
#include "ops/swiglu/swiglu_cuda_op.h"

namespace ortqlora {
namespace {

using cuda::Element;

// The sole list of CUDA kernels. One line a variant.
const std::vector<OpEntry*>& CudaOps() {
  static const std::vector<OpEntry*> ops = {
      Op<cuda::MatMulInt8<Element::kFloat>>::Entry(),
      Op<cuda::MatMulInt8<Element::kHalf>>::Entry(),
      Op<cuda::MatMulInt8<Element::kBfloat16>>::Entry(),
      Op<cuda::MatMulInt8Grad<Element::kFloat>>::Entry(),
      Op<cuda::MatMulInt8Grad<Element::kHalf>>::Entry(),
      Op<cuda::MatMulInt8Grad<Element::kBfloat16>>::Entry(),
      Op<cuda::DequantizeInt8<Element::kFloat>>::Entry(),
      Op<cuda::DequantizeInt8<Element::kHalf>>::Entry(),
      Op<cuda::DequantizeInt8<Element::kBfloat16>>::Entry(),
      Op<cuda::LoraLinear<Element::kFloat>>::Entry(),
      Op<cuda::LoraLinear<Element::kHalf>>::Entry(),
      Op<cuda::LoraLinear<Element::kBfloat16>>::Entry(),
      Op<cuda::LoraLinearGrad<Element::kFloat>>::Entry(),
      Op<cuda::LoraLinearGrad<Element::kHalf>>::Entry(),
      Op<cuda::LoraLinearGrad<Element::kBfloat16>>::Entry(),
      Op<cuda::RmsNorm<Element::kFloat, Element::kFloat>>::Entry(),
      Op<cuda::RmsNorm<Element::kHalf, Element::kHalf>>::Entry(),
      Op<cuda::RmsNorm<Element::kHalf, Element::kFloat>>::Entry(),
      Op<cuda::RmsNorm<Element::kBfloat16, Element::kBfloat16>>::Entry(),
      Op<cuda::RmsNorm<Element::kBfloat16, Element::kFloat>>::Entry(),
      Op<cuda::RmsNormGrad<Element::kFloat, Element::kFloat>>::Entry(),
      Op<cuda::RmsNormGrad<Element::kHalf, Element::kHalf>>::Entry(),
      Op<cuda::RmsNormGrad<Element::kHalf, Element::kFloat>>::Entry(),
      Op<cuda::RmsNormGrad<Element::kBfloat16, Element::kBfloat16>>::Entry(),
      Op<cuda::RmsNormGrad<Element::kBfloat16, Element::kFloat>>::Entry(),
      Op<cuda::LayerNorm<Element::kFloat, Element::kFloat>>::Entry(),
      Op<cuda::LayerNorm<Element::kHalf, Element::kHalf>>::Entry(),
      Op<cuda::LayerNorm<Element::kHalf, Element::kFloat>>::Entry(),
      Op<cuda::LayerNorm<Element::kBfloat16, Element::kBfloat16>>::Entry(),
      Op<cuda::LayerNorm<Element::kBfloat16, Element::kFloat>>::Entry(),
      Op<cuda::LayerNormGrad<Element::kFloat, Element::kFloat>>::Entry(),
      Op<cuda::LayerNormGrad<Element::kHalf, Element::kHalf>>::Entry(),
      Op<cuda::LayerNormGrad<Element::kHalf, Element::kFloat>>::Entry(),
      Op<cuda::LayerNormGrad<Element::kBfloat16, Element::kBfloat16>>::Entry(),
      Op<cuda::LayerNormGrad<Element::kBfloat16, Element::kFloat>>::Entry(),
      Op<cuda::SwiGlu<Element::kFloat>>::Entry(),
      Op<cuda::SwiGlu<Element::kHalf>>::Entry(),
      Op<cuda::SwiGlu<Element::kBfloat16>>::Entry(),
      Op<cuda::SwiGluGrad<Element::kFloat>>::Entry(),
      Op<cuda::SwiGluGrad<Element::kHalf>>::Entry(),
      Op<cuda::SwiGluGrad<Element::kBfloat16>>::Entry(),
      Op<cuda::Gelu<Element::kFloat>>::Entry(),
      Op<cuda::Gelu<Element::kHalf>>::Entry(),
      Op<cuda::Gelu<Element::kBfloat16>>::Entry(),
      Op<cuda::GeluGrad<Element::kFloat>>::Entry(),
      Op<cuda::GeluGrad<Element::kHalf>>::Entry(),
      Op<cuda::GeluGrad<Element::kBfloat16>>::Entry(),
      Op<cuda::Rotary<Element::kFloat>>::Entry(),
      Op<cuda::Rotary<Element::kHalf>>::Entry(),
      Op<cuda::Rotary<Element::kBfloat16>>::Entry(),
      Op<cuda::RotaryGrad<Element::kFloat>>::Entry(),
      Op<cuda::RotaryGrad<Element::kHalf>>::Entry(),
      Op<cuda::RotaryGrad<Element::kBfloat16>>::Entry(),
      Op<cuda::Attention<Element::kFloat>>::Entry(),
      Op<cuda::Attention<Element::kHalf>>::Entry(),
      Op<cuda::Attention<Element::kBfloat16>>::Entry(),
      Op<cuda::AttentionGrad<Element::kFloat>>::Entry(),
      Op<cuda::AttentionGrad<Element::kHalf>>::Entry(),
      Op<cuda::AttentionGrad<Element::kBfloat16>>::Entry(),
      Op<cuda::LinearCrossEntropy<Element::kFloat>>::Entry(),
      Op<cuda::LinearCrossEntropy<Element::kHalf>>::Entry(),
      Op<cuda::LinearCrossEntropy<Element::kBfloat16>>::Entry(),
      Op<cuda::AdamW>::Entry(),
      Op<cuda::SquaredNorm>::Entry(),
  };
  return ops;
}

int32_t DescribeDevice(int32_t id, char* text, int64_t capacity) {
  const auto write = [&](const char* message) {
    const size_t size = std::min(std::strlen(message), static_cast<size_t>(capacity - 1));
    std::memcpy(text, message, size);
    text[size] = '\0';
  };
  try {
    write(cuda::DescribeDevice(id).c_str());
    return ORTQLORA_OK;
  } catch (const std::exception& error) {
    write(error.what());
  } catch (...) {
    write("unknown exception");
  }
  return ORTQLORA_FAILED;
}

}  // namespace
}  // namespace ortqlora

extern "C" ORTQLORA_EXPORT const ortqlora::CudaEntries* ortqlora_cuda_entries() {
  static const ortqlora::CudaEntries entries = {ORTQLORA_ABI_VERSION, sizeof(ortqlora::OpEntry),
                                                ortqlora::CudaOps().data(), ortqlora::CudaOps().size(),
                                                ortqlora::DescribeDevice};
  return &entries;
}

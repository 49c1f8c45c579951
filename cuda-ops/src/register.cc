#include "register.h"

#include "common/ort_op.h"
#include "cuda_library.h"
#include "ops/adamw/adamw.h"
#include "ops/attention/attention.h"
#include "ops/cross_entropy/cross_entropy.h"
#include "ops/dequantize_int8/dequantize_int8.h"
#include "ops/gelu/gelu.h"
#include "ops/lora_linear/lora_linear.h"
#include "ops/matmul_int8/matmul_int8.h"
#include "ops/normalization/normalization.h"
#include "ops/rotary/rotary.h"
#include "ops/swiglu/swiglu.h"
#include "ortqlora.h"

namespace ortqlora {

// The sole list of ops. One line a variant; variants of an op stand together.
const std::vector<OpEntry*>& Ops() {
  static const std::vector<OpEntry*> ops = {
      Op<MatMulInt8<Element::kFloat>>::Entry(),
      Op<MatMulInt8<Element::kHalf>>::Entry(),
      Op<MatMulInt8Grad<Element::kFloat>>::Entry(),
      Op<MatMulInt8Grad<Element::kHalf>>::Entry(),
      Op<DequantizeInt8<Element::kFloat>>::Entry(),
      Op<DequantizeInt8<Element::kHalf>>::Entry(),
      Op<LoraLinear>::Entry(),
      Op<LoraLinearGrad>::Entry(),
      Op<RmsNorm>::Entry(),
      Op<RmsNormGrad>::Entry(),
      Op<LayerNorm>::Entry(),
      Op<LayerNormGrad>::Entry(),
      Op<SwiGlu>::Entry(),
      Op<SwiGluGrad>::Entry(),
      Op<Gelu>::Entry(),
      Op<GeluGrad>::Entry(),
      Op<Rotary>::Entry(),
      Op<RotaryGrad>::Entry(),
      Op<Attention>::Entry(),
      Op<AttentionGrad>::Entry(),
      Op<LinearCrossEntropy>::Entry(),
      Op<AdamW>::Entry(),
      Op<SquaredNorm>::Entry(),
  };
  return ops;
}

namespace {

// Sessions refer to the domain and its ops for as long as they live, hence for as long as the process.
OrtCustomOpDomain& Domain(const OrtApi& api) {
  static OrtCustomOpDomain* const domain = [&] {
    OrtCustomOpDomain* created = nullptr;
    ThrowIfFailed(api, api.CreateCustomOpDomain(ORTQLORA_DOMAIN, &created));
    const auto add = [&](OpEntry* op) {
      op->ort = &api;
      ThrowIfFailed(api, api.CustomOpDomain_Add(created, op));
    };
    for (OpEntry* op : Ops()) add(op);
    if (const CudaEntries* cuda = CudaLibrary::Get().entries; cuda != nullptr) {
      for (size_t i = 0; i < cuda->count; ++i) add(cuda->ops[i]);
    }
    return created;
  }();
  return *domain;
}

}  // namespace
}  // namespace ortqlora

OrtStatus* ORT_API_CALL RegisterCustomOps(OrtSessionOptions* options, const OrtApiBase* base) {
  using ortqlora::kOrtApiVersion;
  const OrtApi* api = base->GetApi(kOrtApiVersion);
  if (api == nullptr) {
    // Every release answers for API version 1, which can at least carry the message.
    return base->GetApi(1)->CreateStatus(
        ORT_FAIL, "the ortqlora operators need ONNX Runtime 1.18 or later (C API version 18).");
  }
  try {
    return api->AddCustomOpDomain(options, &ortqlora::Domain(*api));
  } catch (const std::exception& error) {
    return api->CreateStatus(ORT_FAIL, error.what());
  } catch (...) {
    return api->CreateStatus(ORT_FAIL, "registering the ortqlora operators failed.");
  }
}

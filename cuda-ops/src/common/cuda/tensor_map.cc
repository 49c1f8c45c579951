#include "common/cuda/tensor_map.h"

#include "common/cuda/check.h"

namespace ortqlora::cuda {
namespace {

using Encode = decltype(&cuTensorMapEncodeTiled);

// Through the runtime, so that this library does not need libcuda to load.
Encode LoadEncode() {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult result = cudaDriverEntryPointSymbolNotFound;
#if CUDART_VERSION >= 12050
  Check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault,
                                         &result),
        "cudaGetDriverEntryPointByVersion");
#else
  Check(cudaGetDriverEntryPoint("cuTensorMapEncodeTiled", &function, cudaEnableDefault, &result),
        "cudaGetDriverEntryPoint");
#endif
  if (result != cudaDriverEntryPointSuccess || function == nullptr) {
    Fail("the CUDA driver has no cuTensorMapEncodeTiled; install one for CUDA 12.0 or later.");
  }
  return reinterpret_cast<Encode>(function);
}

}  // namespace

CUtensorMap MatrixMap(Element element, const void* data, int64_t inner, int64_t outer, int64_t pitch,
                      int box_outer) {
  static const Encode encode = LoadEncode();
  CUtensorMap map;
  const cuuint64_t sizes[2] = {static_cast<cuuint64_t>(inner), static_cast<cuuint64_t>(outer)};
  const cuuint64_t strides[1] = {static_cast<cuuint64_t>(pitch) * 2};
  const cuuint32_t box[2] = {64, static_cast<cuuint32_t>(box_outer)}, steps[2] = {1, 1};
  const CUresult status = encode(
      &map, element == Element::kHalf ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2,
      const_cast<void*>(data), sizes, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
      CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS) {
    throw std::runtime_error(Concat("cuTensorMapEncodeTiled failed with ", static_cast<int>(status), " for [",
                                    outer, ", ", inner, "], pitch ", pitch, "."));
  }
  return map;
}

}  // namespace ortqlora::cuda

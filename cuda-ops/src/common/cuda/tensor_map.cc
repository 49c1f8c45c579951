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

// Tiles of `rows` x 128 bytes along the first two axes and 1 along the others.
template <int kAxes>
CUtensorMap EncodeTiles(CUtensorMapDataType type, int element_bytes, const void* data,
                        const int64_t (&sizes)[kAxes], const int64_t (&strides)[kAxes - 1], int rows) {
  static const Encode encode = LoadEncode();
  CUtensorMap map;
  cuuint64_t extents[kAxes], bytes[kAxes - 1];
  cuuint32_t box[kAxes], steps[kAxes];
  for (int i = 0; i < kAxes; ++i) {
    extents[i] = static_cast<cuuint64_t>(sizes[i]);
    if (i > 0) bytes[i - 1] = static_cast<cuuint64_t>(strides[i - 1] * element_bytes);
    box[i] = i == 0   ? static_cast<cuuint32_t>(128 / element_bytes)
             : i == 1 ? static_cast<cuuint32_t>(rows)
                      : 1;
    steps[i] = 1;
  }
  const CUresult status = encode(&map, type, kAxes, const_cast<void*>(data), extents, bytes, box, steps,
                                 CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                                 CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS) {
    std::string text;
    for (int i = kAxes - 1; i >= 0; --i) {
      text += Concat(i == kAxes - 1 ? "[" : ", ", sizes[i]);
      if (i > 0) text += Concat(" (stride ", strides[i - 1], ")");
    }
    throw std::runtime_error(
        Concat("cuTensorMapEncodeTiled failed with ", static_cast<int>(status), " for ", text, "]."));
  }
  return map;
}

CUtensorMapDataType TypeOf(Element element) {
  return element == Element::kHalf ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
}

}  // namespace

CUtensorMap MatrixMap(Element element, const void* data, int64_t inner, int64_t outer, int64_t pitch,
                      int box_outer) {
  const int64_t sizes[2] = {inner, outer}, strides[1] = {pitch};
  return EncodeTiles<2>(TypeOf(element), 2, data, sizes, strides, box_outer);
}

CUtensorMap ByteMatrixMap(const void* data, int64_t inner, int64_t outer, int64_t pitch, int box_outer) {
  const int64_t sizes[2] = {inner, outer}, strides[1] = {pitch};
  return EncodeTiles<2>(CU_TENSOR_MAP_DATA_TYPE_UINT8, 1, data, sizes, strides, box_outer);
}

CUtensorMap TensorMap(Element element, const void* data, const int64_t (&sizes)[4],
                      const int64_t (&strides)[3], int rows) {
  return EncodeTiles<4>(TypeOf(element), 2, data, sizes, strides, rows);
}

}  // namespace ortqlora::cuda

#pragma once

#include "common/cuda/element.h"
#include "common/ort_api.h"

namespace ortqlora::cuda {

// The tensor type of an element.
constexpr ONNXTensorElementDataType TensorTypeOf(Element element) {
  return element == Element::kFloat  ? ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT
         : element == Element::kHalf ? ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16
                                     : ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16;
}

// The execution provider that CUDA variants of ops belong to.
constexpr const char* kCudaProvider = "CUDAExecutionProvider";

}  // namespace ortqlora::cuda

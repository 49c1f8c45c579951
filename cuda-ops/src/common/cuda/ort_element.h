#pragma once

#include "common/cuda/element.h"
#include "common/error.h"
#include "common/ort_op.h"

namespace ortqlora::cuda {

// The tensor type of an element.
constexpr ONNXTensorElementDataType TensorTypeOf(Element element) {
  return element == Element::kFloat  ? ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT
         : element == Element::kHalf ? ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16
                                     : ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16;
}

// The element of a tensor of one of the three types; Error for any other.
inline Element ElementOf(const char* name, const TensorInfo& tensor) {
  for (Element element : {Element::kFloat, Element::kHalf, Element::kBfloat16}) {
    if (tensor.type == TensorTypeOf(element)) return element;
  }
  Fail(name, " is ", ElementTypeName(tensor.type), ", expected float, float16 or bfloat16.");
}

// Takes any type; the kernel checks which.
constexpr Port kAnyPort{ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED};

// The execution provider that CUDA variants of ops belong to.
constexpr const char* kCudaProvider = "CUDAExecutionProvider";

}  // namespace ortqlora::cuda

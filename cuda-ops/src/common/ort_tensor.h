#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/ort_api.h"

namespace ortqlora {

using ElementType = ONNXTensorElementDataType;

// "float16", "int8", ... as the ONNX documents spell them.
const char* ElementTypeName(ElementType type);

// "[2, ?, 64]"; sizes not known yet are -1.
std::string ShapeText(const std::vector<int64_t>& shape);

// Type and shape of an input as the model declares it, or of a tensor in memory.
struct TensorInfo {
  ElementType type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
  bool has_shape = false;
  std::vector<int64_t> shape;

  bool fully_known() const;
  // Number of elements; only where fully known.
  int64_t size() const;
};

struct TensorView {
  TensorInfo info;
  const void* data = nullptr;

  template <typename T>
  const T* As() const {
    return static_cast<const T*>(data);
  }
};

// Throws Error with ONNX Runtime's message, and frees the status.
void ThrowIfFailed(const OrtApi& api, OrtStatus* status);

TensorInfo ReadTensorInfo(const OrtApi& api, const OrtTensorTypeAndShapeInfo& info);
TensorView ReadTensor(const OrtApi& api, const OrtValue& value);

}  // namespace ortqlora

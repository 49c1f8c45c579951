#include "common/ort_tensor.h"

#include <algorithm>

#include "common/error.h"

namespace ortqlora {

const char* ElementTypeName(ElementType type) {
  switch (type) {
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT:
      return "float";
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8:
      return "uint8";
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8:
      return "int8";
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32:
      return "int32";
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64:
      return "int64";
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL:
      return "bool";
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16:
      return "float16";
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE:
      return "double";
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16:
      return "bfloat16";
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED:
      return "no tensor";
    default:
      return "another type";
  }
}

std::string ShapeText(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (int64_t size : shape) {
    if (text.size() > 1) text += ", ";
    text += size < 0 ? "?" : std::to_string(size);
  }
  return text + "]";
}

bool TensorInfo::fully_known() const {
  return has_shape && std::all_of(shape.begin(), shape.end(), [](int64_t size) { return size >= 0; });
}

int64_t TensorInfo::size() const {
  int64_t count = 1;
  for (int64_t size : shape) count *= size;
  return count;
}

void ThrowIfFailed(const OrtApi& api, OrtStatus* status) {
  if (status == nullptr) return;
  const std::string message = api.GetErrorMessage(status);
  api.ReleaseStatus(status);
  throw Error(message);
}

TensorInfo ReadTensorInfo(const OrtApi& api, const OrtTensorTypeAndShapeInfo& info) {
  TensorInfo result;
  ThrowIfFailed(api, api.GetTensorElementType(&info, &result.type));
  size_t rank = 0;
  ThrowIfFailed(api, api.GetDimensionsCount(&info, &rank));
  result.shape.resize(rank);
  ThrowIfFailed(api, api.GetDimensions(&info, result.shape.data(), rank));
  result.has_shape = true;
  return result;
}

TensorView ReadTensor(const OrtApi& api, const OrtValue& value) {
  OrtTensorTypeAndShapeInfo* info = nullptr;
  ThrowIfFailed(api, api.GetTensorTypeAndShape(&value, &info));
  TensorView tensor;
  try {
    tensor.info = ReadTensorInfo(api, *info);
  } catch (...) {
    api.ReleaseTensorTypeAndShapeInfo(info);
    throw;
  }
  api.ReleaseTensorTypeAndShapeInfo(info);
  // The C API has no accessor for const values; nothing is written through this pointer.
  void* data = nullptr;
  ThrowIfFailed(api, api.GetTensorMutableData(const_cast<OrtValue*>(&value), &data));
  tensor.data = data;
  return tensor;
}

}  // namespace ortqlora

#include "common/ort_kernel.h"

#include <memory>

#include "common/error.h"

namespace ortqlora {
namespace {

// True where `status` is a success; frees it otherwise.
bool Succeeded(const OrtApi& api, OrtStatus* status) {
  if (status == nullptr) return true;
  api.ReleaseStatus(status);
  return false;
}

template <typename Read>
bool ReadString(const OrtApi& api, const Read& read, std::string& value) {
  size_t size = 0;
  // The first call asks for the size, terminator included; some versions answer it with an error status.
  Succeeded(api, read(nullptr, &size));
  if (size == 0) return false;
  value.resize(size);
  if (!Succeeded(api, read(value.data(), &size))) return false;
  value.resize(size - 1);
  return true;
}

}  // namespace

std::string KernelInfo::NodeName() const {
  std::string name;
  ReadString(
      api_, [&](char* out, size_t* size) { return api_.KernelInfo_GetNodeName(&info_, out, size); }, name);
  return name;
}

int64_t KernelInfo::Integer(const char* name) const {
  int64_t value = 0;
  if (Succeeded(api_, api_.KernelInfoGetAttribute_int64(&info_, name, &value))) return value;
  Fail("attribute '", name, "' (int) is missing.");
}

float KernelInfo::Float(const char* name) const {
  float value = 0;
  if (Succeeded(api_, api_.KernelInfoGetAttribute_float(&info_, name, &value))) return value;
  Fail("attribute '", name, "' (float) is missing.");
}

std::string KernelInfo::String(const char* name) const {
  std::string value;
  const auto read = [&](char* out, size_t* size) {
    return api_.KernelInfoGetAttribute_string(&info_, name, out, size);
  };
  if (ReadString(api_, read, value)) return value;
  Fail("attribute '", name, "' (string) is missing.");
}

int64_t KernelInfo::Integer(const char* name, int64_t fallback) const {
  int64_t value = 0;
  return Succeeded(api_, api_.KernelInfoGetAttribute_int64(&info_, name, &value)) ? value : fallback;
}

float KernelInfo::Float(const char* name, float fallback) const {
  float value = 0;
  return Succeeded(api_, api_.KernelInfoGetAttribute_float(&info_, name, &value)) ? value : fallback;
}

std::string KernelInfo::String(const char* name, const std::string& fallback) const {
  std::string value;
  const auto read = [&](char* out, size_t* size) {
    return api_.KernelInfoGetAttribute_string(&info_, name, out, size);
  };
  return ReadString(api_, read, value) ? value : fallback;
}

size_t KernelInfo::InputCount() const {
  size_t count = 0;
  ThrowIfFailed(api_, api_.KernelInfo_GetInputCount(&info_, &count));
  return count;
}

TensorInfo KernelInfo::Input(size_t index) const {
  if (index >= InputCount()) return {};
  OrtTypeInfo* type = nullptr;
  if (!Succeeded(api_, api_.KernelInfo_GetInputTypeInfo(&info_, index, &type)) || type == nullptr) return {};
  const std::unique_ptr<OrtTypeInfo, void (*)(OrtTypeInfo*)> owner(type, api_.ReleaseTypeInfo);
  const OrtTensorTypeAndShapeInfo* tensor = nullptr;
  ThrowIfFailed(api_, api_.CastTypeInfoToTensorInfo(type, &tensor));
  if (tensor == nullptr) return {};
  TensorInfo result = ReadTensorInfo(api_, *tensor);
  // An unknown rank reads as rank 0 here.
  result.has_shape = !result.shape.empty();
  return result;
}

std::optional<TensorView> KernelInfo::ConstantInput(size_t index) const {
  if (index >= InputCount()) return std::nullopt;
  int is_constant = 0;
  const OrtValue* value = nullptr;
  ThrowIfFailed(api_, api_.KernelInfoGetConstantInput_tensor(&info_, index, &is_constant, &value));
  if (is_constant == 0 || value == nullptr) return std::nullopt;
  return ReadTensor(api_, *value);
}

size_t KernelContext::InputCount() const {
  size_t count = 0;
  ThrowIfFailed(api_, api_.KernelContext_GetInputCount(&context_, &count));
  return count;
}

TensorView KernelContext::Input(size_t index) const {
  if (index >= InputCount()) return {};
  const OrtValue* value = nullptr;
  ThrowIfFailed(api_, api_.KernelContext_GetInput(&context_, index, &value));
  return value == nullptr ? TensorView{} : ReadTensor(api_, *value);
}

void* KernelContext::OptionalOutput(size_t index, const std::vector<int64_t>& shape) {
  OrtValue* value = nullptr;
  ThrowIfFailed(api_, api_.KernelContext_GetOutput(&context_, index, shape.data(), shape.size(), &value));
  if (value == nullptr) return nullptr;
  void* data = nullptr;
  ThrowIfFailed(api_, api_.GetTensorMutableData(value, &data));
  return data;
}

void* KernelContext::Output(size_t index, const std::vector<int64_t>& shape) {
  return OptionalOutput(index, shape);
}

void* KernelContext::Stream() const {
  void* stream = nullptr;
  ThrowIfFailed(api_, api_.KernelContext_GetGPUComputeStream(&context_, &stream));
  return stream;
}

ScratchMemory KernelContext::Scratch(size_t bytes) {
  const OrtValue* value = nullptr;
  const OrtMemoryInfo* place = nullptr;
  OrtAllocator* allocator = nullptr;
  ThrowIfFailed(api_, api_.KernelContext_GetInput(&context_, 0, &value));
  ThrowIfFailed(api_, api_.GetTensorMemoryInfo(value, &place));
  ThrowIfFailed(api_, api_.KernelContext_GetAllocator(&context_, place, &allocator));
  return ScratchMemory(api_, allocator, bytes);
}

ScratchMemory::ScratchMemory(const OrtApi& api, OrtAllocator* allocator, size_t bytes)
    : api_(api), allocator_(allocator) {
  if (bytes == 0) return;
  // Through the API, which turns exceptions of ONNX Runtime into statuses: none may pass through this
  // library.
  OrtStatus* const status = api_.AllocatorAlloc(allocator_, bytes, &data_);
  if (status == nullptr && data_ != nullptr) return;
  const std::string why =
      status == nullptr ? "" : Concat(" ONNX Runtime says: ", api_.GetErrorMessage(status));
  if (status != nullptr) api_.ReleaseStatus(status);
  api_.ReleaseAllocator(allocator_);
  Fail("no ", bytes, " bytes of scratch memory are left on the device.", why);
}

ScratchMemory::~ScratchMemory() {
  if (data_ != nullptr) {
    if (OrtStatus* const status = api_.AllocatorFree(allocator_, data_); status != nullptr)
      api_.ReleaseStatus(status);
  }
  api_.ReleaseAllocator(allocator_);
}

void KernelContext::Run(size_t count, TaskFunction function, void* user_data) {
  // 0 batches: one claim of the pool per task, so that uneven tasks spread by themselves.
  ThrowIfFailed(api_, api_.KernelContext_ParallelFor(&context_, function, count, 0, user_data));
}

std::optional<ShapeInference::Shape> ShapeInference::Input(size_t index) const {
  OrtTensorTypeAndShapeInfo* info = nullptr;
  if (!Succeeded(api_, api_.ShapeInferContext_GetInputTypeShape(&context_, index, &info)) ||
      info == nullptr) {
    return std::nullopt;
  }
  const TensorInfo tensor = ReadTensorInfo(api_, *info);
  // ONNX Runtime gives an input of unknown rank rank 0 here, and no op of this library takes scalars.
  if (tensor.shape.empty()) return std::nullopt;
  std::vector<const char*> names(tensor.shape.size());
  ThrowIfFailed(api_, api_.GetSymbolicDimensions(info, names.data(), names.size()));
  Shape shape;
  for (size_t i = 0; i < names.size(); ++i) {
    shape.push_back({tensor.shape[i], names[i] == nullptr ? "" : names[i]});
  }
  return shape;
}

ElementType ShapeInference::InputType(size_t index) const {
  OrtTensorTypeAndShapeInfo* info = nullptr;
  if (!Succeeded(api_, api_.ShapeInferContext_GetInputTypeShape(&context_, index, &info)) ||
      info == nullptr) {
    return ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
  }
  return ReadTensorInfo(api_, *info).type;
}

int64_t ShapeInference::Integer(const char* name) const {
  const OrtOpAttr* attribute = nullptr;
  int64_t value = -1;
  size_t written = 0;
  if (Succeeded(api_, api_.ShapeInferContext_GetAttribute(&context_, name, &attribute)) &&
      attribute != nullptr) {
    ThrowIfFailed(api_, api_.ReadOpAttr(attribute, ORT_OP_ATTR_INT, &value, sizeof value, &written));
  }
  return value;
}

void ShapeInference::SetOutput(size_t index, ElementType type, const Shape& shape) {
  // ONNX Runtime takes a size it does not know and that has no name for the number -1. Without a shape the
  // output still has its type, from the op's port.
  for (const Dimension& dimension : shape) {
    if (dimension.size < 0 && dimension.name.empty()) return;
  }
  std::vector<int64_t> sizes;
  std::vector<const char*> names;
  for (const Dimension& dimension : shape) {
    sizes.push_back(dimension.size);
    names.push_back(dimension.name.c_str());
  }
  OrtTensorTypeAndShapeInfo* info = nullptr;
  ThrowIfFailed(api_, api_.CreateTensorTypeAndShapeInfo(&info));
  const std::unique_ptr<OrtTensorTypeAndShapeInfo, void (*)(OrtTensorTypeAndShapeInfo*)> owner(
      info, api_.ReleaseTensorTypeAndShapeInfo);
  ThrowIfFailed(api_, api_.SetTensorElementType(info, type));
  ThrowIfFailed(api_, api_.SetDimensions(info, sizes.data(), sizes.size()));
  ThrowIfFailed(api_, api_.SetSymbolicDimensions(info, names.data(), names.size()));
  ThrowIfFailed(api_, api_.ShapeInferContext_SetOutputTypeShape(&context_, index, info));
}

}  // namespace ortqlora

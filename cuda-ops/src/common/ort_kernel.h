#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/ort_tensor.h"
#include "common/parallel.h"

namespace ortqlora {

// What a kernel may ask when a session creates it.
class KernelInfo {
 public:
  KernelInfo(const OrtApi& api, const OrtKernelInfo& info) : api_(api), info_(info) {}

  std::string NodeName() const;

  // Attributes. Throw Error naming the attribute where it is missing or of another type.
  int64_t Integer(const char* name) const;
  float Float(const char* name) const;
  std::string String(const char* name) const;
  // The same with a default for a missing attribute.
  int64_t Integer(const char* name, int64_t fallback) const;
  float Float(const char* name, float fallback) const;
  std::string String(const char* name, const std::string& fallback) const;

  size_t InputCount() const;
  // What the model declares about an input (of a scalar, only the type); type "undefined" for an optional
  // input left out.
  TensorInfo Input(size_t index) const;
  // The value of a constant initializer, which lives as long as the kernel.
  std::optional<TensorView> ConstantInput(size_t index) const;

 private:
  const OrtApi& api_;
  const OrtKernelInfo& info_;
};

// Memory of the execution provider for one call of a kernel, from ONNX Runtime's allocator. Work that still
// uses it on the provider's stream is safe: memory given back is handed out again on the same stream only.
class ScratchMemory {
 public:
  ScratchMemory(const OrtApi& api, OrtAllocator* allocator, size_t bytes);
  ScratchMemory(const ScratchMemory&) = delete;
  ScratchMemory& operator=(const ScratchMemory&) = delete;
  ~ScratchMemory();

  // Null for a size of 0; aligned to 256 bytes on a CUDA device.
  void* data() const { return data_; }

 private:
  const OrtApi& api_;
  OrtAllocator* allocator_;
  void* data_ = nullptr;
};

// What a kernel may ask while it computes. It is also the session's thread pool.
class KernelContext final : public Parallel {
 public:
  KernelContext(const OrtApi& api, OrtKernelContext& context) : api_(api), context_(context) {}

  size_t InputCount() const;
  // Data null for an optional input left out.
  TensorView Input(size_t index) const;
  void* Output(size_t index, const std::vector<int64_t>& shape);
  // Null for an optional output nobody asked for.
  void* OptionalOutput(size_t index, const std::vector<int64_t>& shape);

  // The stream of a GPU's execution provider (cudaStream_t on CUDA); null elsewhere.
  void* Stream() const;
  // Memory of the device where input 0 is.
  ScratchMemory Scratch(size_t bytes);

 protected:
  void Run(size_t count, TaskFunction function, void* user_data) override;

 private:
  const OrtApi& api_;
  OrtKernelContext& context_;
};

// Shape inference while a model loads: symbolic dimensions keep their names.
class ShapeInference {
 public:
  struct Dimension {
    int64_t size = -1;
    std::string name;
  };
  using Shape = std::vector<Dimension>;

  ShapeInference(const OrtApi& api, OrtShapeInferContext& context) : api_(api), context_(context) {}

  // Nothing where the rank is not known.
  std::optional<Shape> Input(size_t index) const;
  ElementType InputType(size_t index) const;
  int64_t Integer(const char* attribute) const;
  void SetOutput(size_t index, ElementType type, const Shape& shape);

 private:
  const OrtApi& api_;
  OrtShapeInferContext& context_;
};

}  // namespace ortqlora

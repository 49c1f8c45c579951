#pragma once

#include <exception>
#include <memory>
#include <new>
#include <string>

#include "common/error.h"
#include "common/ort_kernel.h"

namespace ortqlora {

// One input or output of an op. "Undefined" accepts every type: the kernel checks and says what it wants.
struct Port {
  ElementType type;
  bool optional = false;
};

constexpr Port kFloatPort{ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT};
constexpr Port kOptionalFloatPort{ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, true};
constexpr Port kAnyPort{ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED};
constexpr Port kOptionalAnyPort{ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED, true};

// An op as ONNX Runtime registers it. Ops of equal name and different port types are variants of one schema.
struct OpEntry : OrtCustomOp {
  const OrtApi* ort = nullptr;
  const char* name = nullptr;
};

// Adapts a kernel class to ONNX Runtime. The class provides
//
//   static constexpr const char* kName = "MyOp";
//   static constexpr const char* kProvider = "CUDAExecutionProvider";  // left out: the CPU
//   static constexpr Port kInputs[] = {{...}, ...}, kOutputs[] = {{...}};
//   explicit MyOp(const KernelInfo& info);       // session creation: check and prepare everything
//   void Compute(KernelContext& context) const;  // may run on several threads at once
//   static void InferShapes(ShapeInference& shapes);  // left out: not the op's first variant
//
// InferShapes speaks for all variants of an op (ONNX Runtime calls the first one's), so it takes output types
// from inputs. Exceptions become statuses, with op and node named.
template <class Kernel>
class Op {
 public:
  static OpEntry* Entry() {
    static OpEntry entry = Make();
    return &entry;
  }

 private:
  struct State {
    const OrtApi& api;
    std::string place;
    Kernel kernel;
  };

  static std::string Place(const std::string& node) {
    return std::string("ortqlora.") + Kernel::kName + (node.empty() ? "" : " at node '" + node + "'");
  }

  template <typename Body>
  static OrtStatus* Guard(const OrtApi& api, const std::string& place, const Body& body) noexcept {
    try {
      body();
      return nullptr;
    } catch (const Error& error) {
      return Status(api, ORT_INVALID_ARGUMENT, place, error.what());
    } catch (const std::bad_alloc&) {
      return Status(api, ORT_FAIL, place, "out of memory.");
    } catch (const std::exception& error) {
      return Status(api, ORT_FAIL, place, error.what());
    } catch (...) {
      return Status(api, ORT_FAIL, place, "unknown exception.");
    }
  }

  static OrtStatus* Status(const OrtApi& api, OrtErrorCode code, const std::string& place,
                           const char* what) noexcept {
    try {
      return api.CreateStatus(code, (place + ": " + what).c_str());
    } catch (...) {
      return api.CreateStatus(code, what);
    }
  }

  static OrtStatus* ORT_API_CALL Create(const OrtCustomOp*, const OrtApi* api, const OrtKernelInfo* info,
                                        void** out) {
    const KernelInfo kernel_info(*api, *info);
    std::string place;
    try {
      place = Place(kernel_info.NodeName());
    } catch (...) {
      place.clear();
    }
    return Guard(*api, place, [&] { *out = new State{*api, place, Kernel(kernel_info)}; });
  }

  static OrtStatus* ORT_API_CALL Compute(void* kernel, OrtKernelContext* context) {
    const auto& state = *static_cast<const State*>(kernel);
    return Guard(state.api, state.place, [&] {
      KernelContext kernel_context(state.api, *context);
      state.kernel.Compute(kernel_context);
    });
  }

  static void ORT_API_CALL Destroy(void* kernel) { delete static_cast<State*>(kernel); }

  static OrtStatus* ORT_API_CALL InferShapes(const OrtCustomOp* op, OrtShapeInferContext* context) {
    const OrtApi& api = *static_cast<const OpEntry*>(op)->ort;
    return Guard(api, Place(""), [&] {
      ShapeInference shapes(api, *context);
      Kernel::InferShapes(shapes);
    });
  }

  static OrtCustomOpInputOutputCharacteristic Characteristic(const Port& port) {
    return port.optional ? INPUT_OUTPUT_OPTIONAL : INPUT_OUTPUT_REQUIRED;
  }

  static OpEntry Make() {
    OpEntry entry{};
    entry.version = kOrtApiVersion;
    entry.name = Kernel::kName;
    entry.GetName = [](const OrtCustomOp*) { return Kernel::kName; };
    entry.GetExecutionProviderType = [](const OrtCustomOp*) -> const char* {
      if constexpr (requires { Kernel::kProvider; }) return Kernel::kProvider;
      return nullptr;  // the CPU
    };
    entry.GetInputTypeCount = [](const OrtCustomOp*) { return std::size(Kernel::kInputs); };
    entry.GetInputType = [](const OrtCustomOp*, size_t i) { return Kernel::kInputs[i].type; };
    entry.GetInputCharacteristic = [](const OrtCustomOp*, size_t i) {
      return Characteristic(Kernel::kInputs[i]);
    };
    entry.GetInputMemoryType = [](const OrtCustomOp*, size_t) { return OrtMemTypeDefault; };
    entry.GetOutputTypeCount = [](const OrtCustomOp*) { return std::size(Kernel::kOutputs); };
    entry.GetOutputType = [](const OrtCustomOp*, size_t i) { return Kernel::kOutputs[i].type; };
    entry.GetOutputCharacteristic = [](const OrtCustomOp*, size_t i) {
      return Characteristic(Kernel::kOutputs[i]);
    };
    entry.CreateKernelV2 = Create;
    entry.KernelComputeV2 = Compute;
    entry.KernelDestroy = Destroy;
    if constexpr (requires { &Kernel::InferShapes; }) entry.InferOutputShapeFn = InferShapes;
    return entry;
  }
};

}  // namespace ortqlora

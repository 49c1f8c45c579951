#pragma once

// ONNX Runtime, loaded at run time, with the operator library registered in every session.

#include <dlfcn.h>
#include <onnxruntime_c_api.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "test/onnx_writer.h"

namespace ortqlora::test {

// A library to load: the environment variable wins over what CMake found.
inline void* LoadLibraryOrThrow(const char* variable, const char* fallback) {
  const char* path = std::getenv(variable);
  if (path == nullptr || *path == '\0') path = fallback;
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) throw std::runtime_error(dlerror());
  return library;
}

class Ort {
 public:
  static Ort& Get() {
    static Ort ort;
    return ort;
  }

  const OrtApi& api() const { return *api_; }
  OrtEnv* env() const { return env_; }

  void Check(OrtStatus* status) const {
    if (status == nullptr) return;
    const std::string message = api_->GetErrorMessage(status);
    api_->ReleaseStatus(status);
    throw std::runtime_error(message);
  }

  const std::string& version() const { return version_; }

 private:
  Ort() {
    void* library = LoadLibraryOrThrow("ORTQLORA_TEST_ORT_LIBRARY", ORTQLORA_ORT_LIBRARY);
    const auto base = reinterpret_cast<const OrtApiBase* (*)()>(dlsym(library, "OrtGetApiBase"))();
    version_ = base->GetVersionString();
    api_ = base->GetApi(18);
    if (api_ == nullptr) throw std::runtime_error("ONNX Runtime " + version_ + " lacks C API version 18");
    Check(api_->CreateEnv(ORT_LOGGING_LEVEL_FATAL, "test", &env_));
  }

  const OrtApi* api_ = nullptr;
  OrtEnv* env_ = nullptr;
  std::string version_;
};

inline size_t SizeOf(Type type) {
  return type == kFloat32 ? 4 : type == kInt64 || type == kDouble ? 8 : type == kInt8 || type == kUint8 ? 1 : 2;
}

class Session {
 public:
  // With `cuda`, every node must run on the first CUDA device.
  explicit Session(const std::string& model, int threads = 2, bool cuda = false) : ort_(Ort::Get()) {
    const OrtApi& api = ort_.api();
    OrtSessionOptions* options = nullptr;
    ort_.Check(api.CreateSessionOptions(&options));
    OrtStatus* status = api.SetIntraOpNumThreads(options, threads);
    if (status == nullptr && cuda) {
      status = api.AddSessionConfigEntry(options, "session.disable_cpu_ep_fallback", "1");
      OrtCUDAProviderOptionsV2* provider = nullptr;
      if (status == nullptr) status = api.CreateCUDAProviderOptions(&provider);
      if (status == nullptr) status = api.SessionOptionsAppendExecutionProvider_CUDA_V2(options, provider);
      if (provider != nullptr) api.ReleaseCUDAProviderOptions(provider);
    }
    const char* path = std::getenv("ORTQLORA_TEST_OPS_LIBRARY");
    if (status == nullptr) {
      status = api.RegisterCustomOpsLibrary_V2(options, path == nullptr ? ORTQLORA_OPS_LIBRARY : path);
    }
    if (status == nullptr) {
      status = api.CreateSessionFromArray(ort_.env(), model.data(), model.size(), options, &session_);
    }
    api.ReleaseSessionOptions(options);
    ort_.Check(status);
  }
  Session(const Session&) = delete;
  ~Session() { ort_.api().ReleaseSession(session_); }

  // Runs and returns the only output.
  Tensor Run(const std::vector<Tensor>& inputs, const std::string& output) {
    const OrtApi& api = ort_.api();
    OrtMemoryInfo* memory = nullptr;
    ort_.Check(api.CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory));
    std::vector<const char*> names;
    std::vector<OrtValue*> values;
    for (const Tensor& input : inputs) {
      names.push_back(input.name.c_str());
      values.push_back(nullptr);
      ort_.Check(api.CreateTensorWithDataAsOrtValue(
          memory, const_cast<char*>(input.data.data()), input.data.size(), input.shape.data(),
          input.shape.size(), static_cast<ONNXTensorElementDataType>(input.type), &values.back()));
    }
    const char* output_name = output.c_str();
    OrtValue* result = nullptr;
    OrtStatus* status =
        api.Run(session_, nullptr, names.data(), values.data(), values.size(), &output_name, 1, &result);
    for (OrtValue* value : values) api.ReleaseValue(value);
    api.ReleaseMemoryInfo(memory);
    ort_.Check(status);

    OrtTensorTypeAndShapeInfo* info = nullptr;
    ort_.Check(api.GetTensorTypeAndShape(result, &info));
    Tensor tensor{output, kFloat32, {}, ""};
    ONNXTensorElementDataType type;
    size_t rank = 0, count = 0;
    ort_.Check(api.GetTensorElementType(info, &type));
    ort_.Check(api.GetDimensionsCount(info, &rank));
    tensor.shape.resize(rank);
    ort_.Check(api.GetDimensions(info, tensor.shape.data(), rank));
    ort_.Check(api.GetTensorShapeElementCount(info, &count));
    api.ReleaseTensorTypeAndShapeInfo(info);
    tensor.type = static_cast<Type>(type);
    void* data = nullptr;
    ort_.Check(api.GetTensorMutableData(result, &data));
    tensor.data.assign(static_cast<const char*>(data), count * SizeOf(tensor.type));
    api.ReleaseValue(result);
    return tensor;
  }

 private:
  Ort& ort_;
  OrtSession* session_ = nullptr;
};

}  // namespace ortqlora::test

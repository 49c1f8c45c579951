#pragma once

#include <onnxruntime_c_api.h>

namespace ortqlora {

// The oldest C API every call of this library exists in: one build then serves ONNX Runtime 1.19 and later
// (1.18 in fact). Raise it only together with the oldest supported ONNX Runtime.
constexpr uint32_t kOrtApiVersion = 18;

}  // namespace ortqlora

#pragma once

// Arrays on the device for tests: filled from the host in any element type, read back as floats.

#include <cuda_runtime_api.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "common/cuda/check.h"
#include "common/cuda/device.h"
#include "common/cuda/element.h"
#include "common/half.h"
#include "test/test.h"

namespace ortqlora::test {

using cuda::Element;

// Ends the test as skipped on a machine without a device it can run on.
inline const cuda::Device& DeviceOrSkip() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0) {
    cudaGetLastError();
    Skip("no CUDA device");
  }
  return cuda::Device::Current();
}

// Whether to take the fewest sizes: under compute-sanitizer everything is far slower.
inline bool Small() {
  const char* value = std::getenv("ORTQLORA_TEST_SMALL");
  return value != nullptr && *value != '\0';
}

inline const char* ElementName(Element element) {
  return element == Element::kFloat ? "float" : element == Element::kHalf ? "half" : "bfloat16";
}

inline float Bf16ToFloat(uint16_t bits) { return BitsFloat(static_cast<uint32_t>(bits) << 16); }

// What is left of a value in an element type.
inline float Rounded(Element element, float value) {
  return element == Element::kFloat  ? value
         : element == Element::kHalf ? HalfToFloat(FloatToHalf(value))
                                     : Bf16ToFloat(FloatToBf16(value));
}

inline std::vector<float> Rounded(Element element, std::vector<float> values) {
  for (float& value : values) value = Rounded(element, value);
  return values;
}

class DeviceArray {
 public:
  // Every byte 0xFF, which is NaN in every type.
  explicit DeviceArray(size_t bytes) : buffer_(std::make_unique<cuda::DeviceBuffer>(bytes)) {
    if (bytes != 0) cuda::Check(cudaMemset(data(), 0xFF, bytes), "cudaMemset");
  }
  template <typename T>
  static DeviceArray Of(const std::vector<T>& values) {
    DeviceArray array(values.size() * sizeof(T));
    if (!values.empty()) {
      cuda::Check(cudaMemcpy(array.data(), values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice),
                  "cudaMemcpy");
    }
    return array;
  }
  static DeviceArray Of(Element element, const std::vector<float>& values) {
    if (element == Element::kFloat) return Of(values);
    std::vector<uint16_t> bits;
    for (float value : values)
      bits.push_back(element == Element::kHalf ? FloatToHalf(value) : FloatToBf16(value));
    return Of(bits);
  }

  void* data() const { return buffer_->data(); }

  template <typename T>
  std::vector<T> Read() const {
    std::vector<T> values(buffer_->size() / sizeof(T));
    cuda::Check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    if (!values.empty()) {
      cuda::Check(cudaMemcpy(values.data(), data(), values.size() * sizeof(T), cudaMemcpyDeviceToHost),
                  "cudaMemcpy");
    }
    return values;
  }
  std::vector<float> ReadFloats(Element element) const {
    if (element == Element::kFloat) return Read<float>();
    std::vector<float> values;
    for (uint16_t bits : Read<uint16_t>()) {
      values.push_back(element == Element::kHalf ? HalfToFloat(bits) : Bf16ToFloat(bits));
    }
    return values;
  }

 private:
  std::unique_ptr<cuda::DeviceBuffer> buffer_;
};

}  // namespace ortqlora::test

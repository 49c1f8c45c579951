#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace ortqlora::cuda {

// What kernels choose by.
struct Device {
  int id = 0;
  int major = 0, minor = 0;  // compute capability
  int multiprocessors = 0;

  // The current device of this thread, asked once and remembered. Throws where there is none, where it is
  // older than compute capability 8.0, or where the driver is older than the runtime.
  static const Device& Current();

  // Whether the kernels for sm_90a (wgmma, bulk copies, clusters) run here: that target has no successors.
  bool hopper() const { return major == 9 && minor == 0; }
};

// "NVIDIA H100 80GB HBM3, compute capability 9.0, driver 13.0, runtime 13.0"
std::string DescribeDevice(int id);

// Memory of the device that lives as long as the object.
class DeviceBuffer {
 public:
  explicit DeviceBuffer(size_t bytes);
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;
  ~DeviceBuffer();

  void* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  void* data_ = nullptr;
  size_t size_;
};

}  // namespace ortqlora::cuda

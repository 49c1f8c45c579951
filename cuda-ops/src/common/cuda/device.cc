#include "common/cuda/device.h"

#include <array>
#include <mutex>

#include "common/cuda/check.h"

namespace ortqlora::cuda {
namespace {

constexpr int kMostDevices = 64;

Device Ask(int id) {
  Device device;
  device.id = id;
  Check(cudaDeviceGetAttribute(&device.major, cudaDevAttrComputeCapabilityMajor, id),
        "cudaDeviceGetAttribute");
  Check(cudaDeviceGetAttribute(&device.minor, cudaDevAttrComputeCapabilityMinor, id),
        "cudaDeviceGetAttribute");
  Check(cudaDeviceGetAttribute(&device.multiprocessors, cudaDevAttrMultiProcessorCount, id),
        "cudaDeviceGetAttribute");
  if (device.major < 8) {
    Fail("the CUDA device ", id, " has compute capability ", device.major, ".", device.minor,
         "; the native operators need 8.0 (Ampere) or later. Use --ops portable there.");
  }
  return device;
}

std::string VersionText(int version) { return Concat(version / 1000, ".", version % 1000 / 10); }

}  // namespace

const Device& Device::Current() {
  static std::array<Device, kMostDevices> devices;
  static std::array<std::once_flag, kMostDevices> asked;
  int id = 0;
  Check(cudaGetDevice(&id), "cudaGetDevice");
  if (id < 0 || id >= kMostDevices)
    Fail("the CUDA device ", id, " is beyond the ", kMostDevices, " supported.");
  const auto index = static_cast<size_t>(id);
  std::call_once(asked[index], [&] { devices[index] = Ask(id); });
  return devices[index];
}

std::string DescribeDevice(int id) {
  cudaDeviceProp properties;
  Check(cudaGetDeviceProperties(&properties, id), "cudaGetDeviceProperties");
  int driver = 0, runtime = 0;
  Check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  Check(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
  return Concat(static_cast<const char*>(properties.name), ", compute capability ", properties.major, ".",
                properties.minor, ", driver ", VersionText(driver), ", runtime ", VersionText(runtime));
}

DeviceBuffer::DeviceBuffer(size_t bytes) : size_(bytes) {
  if (bytes != 0) Check(cudaMalloc(&data_, bytes), "cudaMalloc");
}

DeviceBuffer::~DeviceBuffer() {
  // Fails only when the process is ending and the driver went first.
  if (data_ != nullptr) static_cast<void>(cudaFree(data_));
}

}  // namespace ortqlora::cuda

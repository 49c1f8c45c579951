#pragma once

#include <cuda_runtime_api.h>

#include <stdexcept>

#include "common/error.h"

namespace ortqlora::cuda {

// A failure of the device or the driver: no mistake of the caller, hence no Error.
inline void Check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  throw std::runtime_error(
      Concat(what, " failed: ", cudaGetErrorName(status), ", ", cudaGetErrorString(status), "."));
}

// After each launch: what was wrong with it, or with an earlier one nobody asked about.
inline void CheckLaunch(const char* kernel) { Check(cudaGetLastError(), kernel); }

inline int64_t CeilDiv(int64_t value, int64_t by) { return (value + by - 1) / by; }

}  // namespace ortqlora::cuda

#pragma once

#include <string>

#include "cuda_entries.h"

namespace ortqlora {

// The second library, with the CUDA kernels: beside this one, or where the environment variable
// ORTQLORA_CUDA_LIBRARY says. Without it the ops run on the CPU alone.
struct CudaLibrary {
  const CudaEntries* entries = nullptr;
  std::string path;    // the file
  std::string reason;  // why `entries` is null

  // Looked for once in a process.
  static const CudaLibrary& Get();
};

}  // namespace ortqlora

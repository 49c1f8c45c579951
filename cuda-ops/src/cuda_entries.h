#pragma once

// Between the two libraries, which are always built from the same source: libortqlora_ops loads
// libortqlora_ops_cuda and adds its kernels to the domain.

#include <cstddef>
#include <cstdint>

#include "common/ort_op.h"
#include "ortqlora.h"

namespace ortqlora {

struct CudaEntries {
  int32_t abi_version;   // ORTQLORA_ABI_VERSION of the build
  size_t op_entry_size;  // sizeof(OpEntry)
  OpEntry* const* ops;
  size_t count;
  // "NVIDIA H100 80GB HBM3, compute capability 9.0, ..."; a status of ortqlora.h, with the reason in `text`.
  int32_t (*describe_device)(int32_t id, char* text, int64_t capacity);
};

using CudaEntriesFunction = const CudaEntries* (*)();
constexpr const char* kCudaEntriesSymbol = "ortqlora_cuda_entries";

}  // namespace ortqlora

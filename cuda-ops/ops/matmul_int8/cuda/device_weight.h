#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "common/cuda/element.h"
#include "ops/matmul_int8/packed_weight.h"

namespace ortqlora::cuda {

// The one copy of a weight that every CUDA kernel reads, forward and gradient: layout tile64
// (packed_weight.h), here with K and N as padded to whole tiles.
struct DeviceBlocks {
  const uint8_t* data = nullptr;
  int64_t k = 0, n = 0;                // logical sizes
  int64_t padded_k = 0, padded_n = 0;  // multiples of 128
};

// Bytes of the packed weight.
int64_t BlockBytes(int64_t k, int64_t n);

// Packs `source`, whose data is on the device, into `blocks`.
void LaunchPackWeight(const WeightSource& source, uint8_t* blocks, cudaStream_t stream);

// The scales of a weight in the forms the kernels read. 2^e is the power of two at or below the largest
// magnitude, so that scales of any size survive fp16: kernels multiply by scale * 2^-e and give 2^e back in
// fp32 at the end.
struct ScaleView {
  const float* scale;           // [padded_n] as given, 0 beyond N
  const uint16_t* bf16_factor;  // [padded_n] bf16: scale * 2^(120 - e), see convert.cuh
  const uint16_t* half_factor;  // [padded_n] fp16: scale * 2^-e
  const float* powers;          // {2^e, 2^-e}

  static int64_t Bytes(int64_t padded_n) { return padded_n * 8 + 16; }
  static ScaleView Of(const void* memory, int64_t padded_n) {
    const auto* scale = static_cast<const float*>(memory);
    const auto* bf16 = reinterpret_cast<const uint16_t*>(scale + padded_n);
    return {scale, bf16, bf16 + padded_n, reinterpret_cast<const float*>(bf16 + 2 * padded_n)};
  }
};

// `scale` is [n]; `memory` of ScaleView::Bytes, aligned to 16.
void LaunchPrepareScale(const void* scale, Element type, int64_t n, int64_t padded_n, void* memory,
                        cudaStream_t stream);

}  // namespace ortqlora::cuda

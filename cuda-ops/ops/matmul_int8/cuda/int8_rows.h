#pragma once

#include <cuda_runtime_api.h>

#include "ops/matmul_int8/cuda/device_weight.h"
#include "ops/matmul_int8/gemm.h"

namespace ortqlora::cuda {

// The operands of products in int8 (compute mode 'int8'), whose reduction both have side by side in memory.

// Bytes of a weight laid out for one direction.
inline int64_t Int8WeightBytes(const DeviceBlocks& weight) { return weight.padded_k * weight.padded_n; }

// Lays a weight out for one direction: rows of the results' features, padded_k bytes of them forward,
// padded_n in the gradient; within each 16 rows the even ones come first, so that neighbours end up in one
// thread.
void LaunchLayOutInt8(const DeviceBlocks& weight, Direction direction, int8_t* out, cudaStream_t stream);

// Activations to quantize, each row by its largest magnitude: x = q * scales[row] with q of at most 127. In
// the gradient column i is multiplied by scale[i] * 2^-e first. A row with an infinity or a NaN has the scale
// NaN.
struct RowsToQuantize {
  Element element = Element::kBfloat16;
  const void* in = nullptr;  // [rows, width]
  int64_t rows = 0, width = 0;
  const ScaleView* scale = nullptr;
  int64_t padded_width = 0;  // of `out`, a multiple of 16; columns from `width` on are 0
  int8_t* out = nullptr;     // [rows, padded_width]
  float* scales = nullptr;   // [rows]
};

void LaunchQuantizeRows(const RowsToQuantize& call, cudaStream_t stream);

}  // namespace ortqlora::cuda

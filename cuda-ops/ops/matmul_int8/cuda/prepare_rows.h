#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "common/cuda/element.h"
#include "ops/matmul_int8/cuda/device_weight.h"

namespace ortqlora::cuda {

// Activations as the 16-bit operand of the tensor cores. fp32 numbers become a sum of up to three bf16 ones,
// side by side in the reduction: x = x0 + x1 + x2 to 8, 16 or 24 bits, each times q exact. With scales
// (gradient), column i is multiplied by scale[i] * 2^-e first.
struct RowsToPrepare {
  Element element = Element::kFloat;
  const void* in = nullptr;  // [rows, width]
  int64_t rows = 0, width = 0;
  const ScaleView* scale = nullptr;
  int terms = 1;             // 1 unless `element` is kFloat
  int64_t padded_width = 0;  // columns of a term; those from `width` on are 0
  void* out = nullptr;       // [rows, terms * padded_width] fp16 for kHalf, else bf16
};

void LaunchPrepareRows(const RowsToPrepare& call, cudaStream_t stream);

// out[rows, width] = bias[width] in every row, or 0, plus addend where it is not null: the product over an
// empty reduction.
void LaunchFillRows(Element element, const float* bias, const void* addend, int64_t rows, int64_t width,
                    void* out, cudaStream_t stream);

}  // namespace ortqlora::cuda

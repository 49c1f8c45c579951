#pragma once

#include <cstdint>

#include "common/parallel.h"
#include "ops/simd/simd_kernels.h"

namespace ortqlora {

// Rows of `width` elements, each normalised by itself. Formulas: normalization_simd.h.
struct NormRows {
  int64_t rows;
  int64_t width;
};

void RmsNormForward(const SimdKernels& kernels, const NormRows& size, const float* x, const float* weight,
                    float epsilon, float* y, float* inv, Parallel& parallel);
// addend, of dx's shape and added to it, and dweight may be null.
void RmsNormBackward(const SimdKernels& kernels, const NormRows& size, const float* dy, const float* x,
                     const float* weight, const float* inv, const float* addend, float* dx, float* dweight,
                     Parallel& parallel);

// bias may be null.
void LayerNormForward(const SimdKernels& kernels, const NormRows& size, const float* x, const float* weight,
                      const float* bias, float epsilon, float* y, float* mean, float* inv,
                      Parallel& parallel);
// addend, dweight and dbias may be null.
void LayerNormBackward(const SimdKernels& kernels, const NormRows& size, const float* dy, const float* x,
                       const float* weight, const float* mean, const float* inv, const float* addend,
                       float* dx, float* dweight, float* dbias, Parallel& parallel);

}  // namespace ortqlora

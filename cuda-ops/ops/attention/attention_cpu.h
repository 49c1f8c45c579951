#pragma once

#include <cstdint>

#include "common/cpu_path.h"
#include "common/parallel.h"
#include "ops/attention/attention_shape.h"
#include "ops/matmul_float/float_product.h"
#include "ops/simd/simd_kernels.h"

namespace ortqlora {

// softmax(scale * q k^T + mask) v, a block of scores at a time with running maximum and sum (Dao et al.
// 2022): the matrix of scores is never stored. A query whose keys are all masked with -infinity gives 0; one
// whose keys all carry the lowest finite number attends to all of them alike, as softmax does.
class AttentionKernel {
 public:
  AttentionKernel(CpuPath path, Compute compute) : product_(path, compute), simd_(SimdKernelsOf(path)) {}

  // y as `shape` says; lse[batch, heads, queries] is the log of the sum of exp of the scores.
  void Forward(const AttentionShape& shape, const float* q, const float* k, const float* v,
               const AttentionMask& mask, float* y, float* lse, Parallel& parallel) const;

  // dq, dk and dv lie as q, k and v; dy as y.
  void Backward(const AttentionShape& shape, const float* dy, const float* q, const float* k, const float* v,
                const float* y, const float* lse, const AttentionMask& mask, float* dq, float* dk, float* dv,
                Parallel& parallel) const;

 private:
  FloatProduct product_;
  const SimdKernels& simd_;
};

}  // namespace ortqlora

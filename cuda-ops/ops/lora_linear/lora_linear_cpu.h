#pragma once

#include <cstdint>

#include "common/cpu_path.h"
#include "common/parallel.h"
#include "ops/matmul_float/float_product.h"
#include "ops/matmul_int8/gemm.h"
#include "ops/matmul_int8/packed_weight.h"

namespace ortqlora {

// A frozen int8 weight with a low-rank branch beside it: What[K, N] + scaling * A^T B^T.
struct LoraWeights {
  const PackedWeight* weight = nullptr;
  const float* scale = nullptr;  // [N]
  const float* a = nullptr;      // [rank, K]
  const float* b = nullptr;      // [N, rank]
  int64_t rank = 0;
  float scaling = 1;
};

// What gradients are added to, each null or of its gradient's shape; those of dA and dB may be where they go.
struct LoraStarts {
  const float* dx = nullptr;
  const float* da = nullptr;
  const float* db = nullptr;
};

// The kernels of one CPU path for one way of forming products; the low-rank products follow FloatProduct's
// modes.
class LoraLinearKernel {
 public:
  LoraLinearKernel(CpuPath path, Compute compute) : base_(path, compute), product_(path, compute) {}

  // h[rows, rank] = scaling * x * A^T, y[rows, N] = x * What + h * B^T + bias + addend; bias [N] or null,
  // addend [rows, N] or null.
  void Forward(const LoraWeights& weights, const float* x, int64_t rows, const float* bias,
               const float* addend, float* y, float* h, Parallel& parallel) const;

  // With dh = scaling * dy * B: dA[rank, K] = dh^T * x, dB[N, rank] = dy^T * h, and where dx is not null
  // dx[rows, K] = dy * What^T + dh * A.
  void Backward(const LoraWeights& weights, const float* dy, const float* x, const float* h, int64_t rows,
                const LoraStarts& starts, float* da, float* db, float* dx, Parallel& parallel) const;

 private:
  Int8Gemm base_;
  FloatProduct product_;
};

}  // namespace ortqlora

#pragma once

#include <cstdint>

#include "common/cpu_path.h"
#include "common/parallel.h"
#include "ops/matmul_float/float_product.h"
#include "ops/simd/simd_kernels.h"

namespace ortqlora {

struct CrossEntropyCall {
  const float* x;  // [rows, width]
  int64_t rows, width;
  MatrixView weight;  // [width, classes]
  int64_t classes;
  const float* bias;      // [classes] or null
  const int64_t* labels;  // [rows]
  int64_t ignored;        // the label that does not count
  float* dx;              // [rows, width] or null
};

// The loss of an output head without its logits: classes pass a block at a time, with a running maximum and
// sum for each row, and the gradient by x gathers the weight's columns by their probabilities on the way,
// rescaled when the maximum grows. So memory holds a block of logits for a few rows, and each logit is
// computed once.
class LinearCrossEntropyKernel {
 public:
  LinearCrossEntropyKernel(CpuPath path, Compute compute)
      : product_(path, compute), simd_(SimdKernelsOf(path)) {}

  // Mean over rows that count of -log softmax(x * weight + bias)[label], 0 without any; dx is its gradient.
  // Throws Error for a label that is no class.
  float Run(const CrossEntropyCall& call, Parallel& parallel) const;

 private:
  FloatProduct product_;
  const SimdKernels& simd_;
};

}  // namespace ortqlora

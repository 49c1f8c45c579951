#pragma once

#include <cstdint>

#include "common/cpu_path.h"
#include "common/parallel.h"
#include "ops/matmul_int8/packed_weight.h"

namespace ortqlora {

struct GemmKernels;
struct RowKernels;

// How products are formed (attribute `compute`). Sums over rows of one call never mix.
enum class Compute {
  kAuto,   // the fastest whose error stays below bf16's
  kFp32,   // fp32 products and sums
  kBf16,   // activations rounded to bf16, fp32 sums
  kInt16,  // each row of activations as integers of 13 bits and sign, exact sums
  kInt8,   // each row of activations as integers of 7 bits and sign, exact sums
};

const char* ComputeName(Compute compute);

enum class Element { kFloat, kHalf };

enum class Direction {
  kForward,   // out[M, N] = in[M, K] * What + bias
  kGradient,  // out[M, K] = in[M, N] * What^T
};

// One product with What[k, n] = q[k, n] * scale[n]. Rows are dense, of `element` type on both sides.
struct GemmCall {
  Direction direction = Direction::kForward;
  Element element = Element::kFloat;
  const PackedWeight* weight = nullptr;
  const float* scale = nullptr;  // [N]
  const float* bias = nullptr;   // [N] or null; forward only
  const void* in = nullptr;
  void* out = nullptr;
  int64_t rows = 0;
};

// The kernels of one CPU path for one way of forming products.
class Int8Gemm {
 public:
  Int8Gemm(CpuPath path, Compute compute);

  void Run(const GemmCall& call, Parallel& parallel) const;

  // What `auto` stands for on this path.
  Compute compute() const { return compute_; }

 private:
  Compute compute_;
  const GemmKernels* kernels_;
  const RowKernels* row_kernels_;
};

}  // namespace ortqlora

#pragma once

#include <cstdint>

#include "common/cpu_path.h"
#include "common/parallel.h"
#include "ops/matmul_float/float_product.h"
#include "ops/simd/simd_kernels.h"

namespace ortqlora {

// Where element (batch, head, position, 0) of a tensor of heads stands; features lie side by side.
struct HeadStrides {
  int64_t batch, head, position;
};

// A mask that broadcasts to [batch, heads, queries, keys]: strides in elements, 0 along an axis of size 1.
struct AttentionMask {
  const float* added = nullptr;      // to the scores; or
  const uint8_t* visible = nullptr;  // whether a query sees a key
  int64_t batch = 0, head = 0, query = 0, key = 0;

  bool given() const { return added != nullptr || visible != nullptr; }
};

// Attention of `heads` query heads over `groups` key and value heads, heads / groups of them sharing one.
struct AttentionShape {
  int64_t batch, heads, groups, queries, keys;
  int64_t size;        // features of q and k
  int64_t value_size;  // features of v and y
  float scale;
  bool causal;  // key j is for queries i >= j - (keys - queries)
  HeadStrides q, k, v, y;
};

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

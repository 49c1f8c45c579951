#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "common/cuda/device.h"
#include "common/cuda/element.h"
#include "ops/matmul_int8/cuda/device_weight.h"
#include "ops/matmul_int8/gemm.h"

namespace ortqlora::cuda {

// A low-rank branch beside a weight, as the last steps of its product: out += narrow * factor. `narrow` is of
// the activations' element and aligned to 16 bytes.
struct DeviceBranch {
  const void* narrow = nullptr;   // [rows, rank]
  const float* factor = nullptr;  // forward [N, rank], its transpose taken; gradient [rank, K]
  int64_t rank = 0;               // a multiple of 8
};

// One product with What[k, n] = q[k, n] * scale[n] on the device. Rows are dense; sums are fp32 whatever the
// type.
struct DeviceGemmCall {
  Direction direction = Direction::kForward;
  Element element = Element::kBfloat16;  // of `in` and `out`
  // fp32 rows as one, two or three bf16 terms: 8, 16 or 24 bits of the rows, exact products.
  int float_terms = 3;
  DeviceBlocks weight;
  ScaleView scale = {};
  // Compute mode 'int8': rows are rounded to 8 bits too where GemmPlan's kernel is kSm90Int8, which reads
  // `int8_weight`, the weight laid out for the direction (int8_rows.h).
  bool int8 = false;
  const int8_t* int8_weight = nullptr;
  bool frozen_weight = false;    // weight and scale were finished before this stream's last synchronisation
  const float* bias = nullptr;   // [N] or null; forward only
  const void* in = nullptr;      // [rows, K] forward, [rows, N] gradient
  void* out = nullptr;           // [rows, N] forward, [rows, K] gradient
  const void* addend = nullptr;  // of the shape and element of out, added before results are rounded, or null
  int64_t rows = 0;
  DeviceBranch branch;  // only where TakesBranch
};

// Kernels as a test or a benchmark names them; kBest is what a session uses.
enum class GemmKernel { kBest, kSm80, kSm90, kSm90Small, kSm90Int8 };

// How a call is carried out.
struct GemmPlan {
  GemmKernel kernel = GemmKernel::kBest;
  int tokens = 0;
  int split = 1;
  bool prepare = false;  // rows are converted, padded or scaled first
  int terms = 1;
  int64_t padded_width = 0;  // of a term
  // For race checkers, which cannot see that one lane may speak for its warp: the warp's wgmma has read what
  // it frees.
  bool every_lane_arrives = false;
  int64_t prepared_bytes = 0, partial_bytes = 0;

  int64_t workspace() const { return prepared_bytes + partial_bytes; }
};

// Chooses; `in` and `out` of the call must be final, as their alignment matters. `forced` other than kBest
// takes that kernel, with `tokens` and `split` if they are not 0.
GemmPlan PlanGemm(const DeviceGemmCall& call, const Device& device, GemmKernel forced = GemmKernel::kBest,
                  int tokens = 0, int split = 0);

// Whether a kernel of the plan adds a branch itself.
bool TakesBranch(const DeviceGemmCall& call, const GemmPlan& plan);

// `workspace` has plan.workspace() bytes, aligned to 256.
void RunGemm(const DeviceGemmCall& call, const GemmPlan& plan, const Device& device, void* workspace,
             cudaStream_t stream);

}  // namespace ortqlora::cuda

#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "common/cuda/element.h"

namespace ortqlora::cuda {

// One product as the kernels see it: out[m, rows] = activations[m, reduction] * W^T, where a row of W is a
// column of What (forward) or a row of it (gradient).
struct GemmArguments {
  const uint8_t* blocks;    // layout tile64
  const void* activations;  // 16-bit, rows `pitch` elements apart, columns from `columns` on absent
  void* out;                // [m, rows]
  const float* row_scale;   // [padded rows] or null
  const uint16_t* factors;  // [padded reduction]: scales within the reduction, for kScaled
  const float* power;       // one number the sums are multiplied by, or null
  const float* bias;        // [rows] or null
  const void* addend;       // [m, rows] of the results' type, added to them, or null
  float unit;               // another such number
  int m, rows;
  int64_t pitch;
  int columns;
  int steps;           // of 64 in the reduction, even
  int weight_steps;    // after so many the weight starts over (fp32 activations as several terms)
  int blocks_k;        // blocks of 64 in the padded K
  bool float_out;      // fp32 results instead of the activations' type
  bool frozen_weight;  // nothing that is still running writes the weight: it may be read ahead of the stream
  bool every_lane_arrives;  // see GemmPlan
  bool tensor_store;        // the results can be stored by the copy engine
  // A low-rank branch added to the product (kernels for sm_90a; rank 0 without): narrow[m, rank] times
  // factor, [rows, rank] or, in the gradient, [rank, rows].
  const void* narrow;
  const float* factor;
  int rank;
  // Products in int8 alone: the weight (LaunchLayOutInt8), activations being int8 too, and the scales of
  // their rows, padded to a multiple of 256.
  const int8_t* int8_weight;
  const float* token_scale;
};

// Which kernel: its compile-time side.
struct GemmVariant {
  bool half;    // fp16, else bf16
  bool grad;    // the weight is read transposed
  bool scaled;  // scales are applied within the reduction
};

// sm_90a, persistent blocks: `tokens` 128 or 256.
void LaunchGemmSm90(const GemmVariant& variant, int tokens, const GemmArguments& call, int multiprocessors,
                    cudaStream_t stream);
// sm_90a, persistent blocks, int8 operands: `steps` of 128 in the reduction.
void LaunchGemmInt8Sm90(const GemmVariant& variant, const GemmArguments& call, int multiprocessors,
                        cudaStream_t stream);
// sm_90a, few rows of activations: `tokens` 8, 16, 32, 64 or 128; the reduction is split over `split` blocks,
// 1 to 8.
void LaunchGemmSm90Small(const GemmVariant& variant, int tokens, int split, const GemmArguments& call,
                         cudaStream_t stream);
// sm_80 and later, mma.sync: `tokens` 16, 64 or 128. With split > 1 partial sums go to `partial`,
// [split, m, rows] fp32, and a second kernel adds them up.
void LaunchGemmSm80(const GemmVariant& variant, int tokens, int split, const GemmArguments& call,
                    float* partial, cudaStream_t stream);

}  // namespace ortqlora::cuda

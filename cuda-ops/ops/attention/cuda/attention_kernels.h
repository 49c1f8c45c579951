#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "ops/attention/attention_shape.h"

namespace ortqlora::cuda {

// Queries and keys of a tile of the mask.
constexpr int kMaskTile = 64;

// What a tile of the mask does to its scores: nothing of them is left, they stay as they are, it has to be
// read, or it hides what the causal rule hides and nothing else, so that it need not be read.
constexpr uint8_t kHiddenTile = 0, kOpenTile = 1, kMixedTile = 2, kCausalTile = 3;

// Kinds of tiles, [batch, heads, query tiles, key tiles]; without a mask there are none.
struct MaskTiles {
  const uint8_t* kinds = nullptr;
  int64_t batch = 0, head = 0;  // strides, 0 along axes where the mask has the size 1
  int row = 0;                  // stride of query tiles
};

// What the kernels are given. Offsets within a head fit 32 bits except where they are multiplied by a stride.
struct AttentionArguments {
  AttentionMask mask;
  MaskTiles tiles;
  const void* q;
  const void* k;
  const void* v;
  const void* y;
  const void* dy;
  void* y_out;
  float* lse_out;
  void* dq;
  void* dk;
  void* dv;
  // Of each query, [batch * heads, padded_queries]: lse in units of log 2, and the sum of dy * y. See
  // LaunchRowStatistics.
  const float* log_sum;
  const float* delta;
  HeadStrides q_strides, k_strides, v_strides, y_strides;
  int batch, heads, groups, queries, keys, size, value_size, padded_queries;
  int offset;  // keys - queries: the last key that the causal rule shows to query i is i + offset
  bool causal;
  // Rows are 16-byte vectors: sizes and strides are multiples of 8 and pointers are aligned.
  bool wide;
  bool every_lane_arrives;  // see DeviceAttentionCall
  float scale;
  float log2_scale;  // scale / log 2
};

// Kinds of the tiles of a mask. A tile is hidden where every score in it is masked with -infinity, or with a
// lowest number while each of its queries sees some other key.
void LaunchMaskTiles(const AttentionArguments& call, int mask_batches, int mask_heads, uint8_t* kinds,
                     cudaStream_t stream);

// log_sum: lse / log 2; +infinity, which gives the probability 0, for a query that sees no key and for those
// that pad the array; kUniform for one whose keys all carry a lowest number.
template <typename T>
void LaunchRowStatistics(const AttentionArguments& call, const float* lse, float* log_sum, float* delta,
                         cudaStream_t stream);

template <typename T>
void LaunchAttentionForwardSm80(const AttentionArguments& call, cudaStream_t stream);
template <typename T>
void LaunchQueryGradSm80(const AttentionArguments& call, cudaStream_t stream);
template <typename T>
void LaunchKeyGradSm80(const AttentionArguments& call, cudaStream_t stream);

// On wgmma, for compute capability 9.0, heads of at most 128 features in vectors of 16 bytes (`wide`), and at
// least one query and one key.
template <typename T>
void LaunchAttentionForwardSm90(const AttentionArguments& call, cudaStream_t stream);
template <typename T>
void LaunchQueryGradSm90(const AttentionArguments& call, cudaStream_t stream);
template <typename T>
void LaunchKeyGradSm90(const AttentionArguments& call, cudaStream_t stream);

// fp32 throughout, without tensor cores.
void LaunchAttentionForwardFloat(const AttentionArguments& call, cudaStream_t stream);
void LaunchQueryGradFloat(const AttentionArguments& call, cudaStream_t stream);
void LaunchKeyGradFloat(const AttentionArguments& call, cudaStream_t stream);

}  // namespace ortqlora::cuda

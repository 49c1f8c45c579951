#pragma once

// What both kernels for sm_90a share: stages of a weight tile, 128 rows x 64, beside an activation tile,
// tokens x 64. "Rows" are the rows of operand A, that is output features; each of two consumer warpgroups
// holds 64 of them.

#include "common/cuda/numbers.cuh"
#include "common/cuda/sm90.cuh"
#include "ops/matmul_int8/cuda/convert.cuh"
#include "ops/matmul_int8/cuda/gemm_kernels.h"
#include "ops/matmul_int8/cuda/wgmma.cuh"

namespace ortqlora::cuda {

constexpr int kRowTile = 128, kStep = 64;
constexpr int kWeightBytes = kRowTile * kStep, kFactorBytes = kStep * 2;

// Token tiles that neighbouring blocks share, so that weights stay in the L2 cache.
constexpr int kTileGroup = 8;

// The order in which persistent blocks take tiles.
struct TileOrder {
  int row_tiles, token_tiles;

  __device__ __forceinline__ int count() const { return row_tiles * token_tiles; }
  __device__ __forceinline__ void At(int tile, int &row_tile, int &token_tile) const {
    const int group_size = kTileGroup * row_tiles, group = tile / group_size, first = group * kTileGroup;
    const int height = min(kTileGroup, token_tiles - first), within = tile - group * group_size;
    token_tile = first + within % height;
    row_tile = within / height;
  }
};

// Walks over the weight tiles of a reduction, starting over after `weight_steps`, and starts the copies of
// each.
template <bool kGrad, bool kScaled>
struct WeightCursor {
  const uint8_t *start, *from;
  const uint16_t *factors_start, *factors;
  int64_t stride, second;  // to the next step, and to the other 64 rows of the tile
  int step, steps;

  __device__ __forceinline__ WeightCursor(const GemmArguments &call, int row, int first)
      : stride(kGrad ? static_cast<int64_t>(call.blocks_k) * 4096 : 4096),
        second(static_cast<int64_t>(call.blocks_k) * 4096),
        step(first % call.weight_steps),
        steps(call.weight_steps) {
    start = call.blocks + (kGrad ? int64_t{row / 64} * 4096 : int64_t{row / 64} * call.blocks_k * 4096);
    from = start + step * stride;
    factors_start = call.factors;
    factors = factors_start + step * kStep;
  }

  __device__ __forceinline__ void Load(uint32_t to, uint32_t factors_to, uint32_t barrier) {
    if constexpr (kGrad) {
      BulkLoad(to, from, 8192, barrier);
    } else {
      BulkLoad(to, from, 4096, barrier);
      BulkLoad(to + 4096, from + second, 4096, barrier);
    }
    from += stride;
    if constexpr (kScaled) {
      BulkLoad(factors_to, factors, kFactorBytes, barrier);
      factors += kStep;
    }
    if (++step == steps) {
      step = 0;
      from = start;
      factors = factors_start;
    }
  }
};

// A consumer thread's operand A: the words of a step and the fragments they become.
template <bool kHalf, bool kGrad, bool kScaled>
struct OperandA {
  uint32_t words[4][2];
  uint32_t factors[4][2];

  __device__ __forceinline__ void Load(uint32_t weights, uint32_t scales, int warpgroup, int warp, int g,
                                       int t) {
#pragma unroll
    for (int k16 = 0; k16 < 4; ++k16) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        words[k16][half] =
            LoadShared(weights + warpgroup * 4096 + WordIndex<kGrad>(warp, g, t, k16, half) * 4);
        if constexpr (kScaled) factors[k16][half] = LoadShared(scales + k16 * 32 + half * 16 + t * 4);
      }
    }
  }
  __device__ __forceinline__ void ConvertTo(uint32_t (&fragments)[4][4]) const {
#pragma unroll
    for (int k16 = 0; k16 < 4; ++k16)
      Convert<kHalf, kGrad, kScaled>(words[k16], factors[k16], fragments[k16]);
  }
};

// Operand A of the branch: the fp32 factor of rows row and row + 1, straight from memory (it is small and
// stays in the L2 cache), rounded to the activations' type.
template <bool kHalf, bool kGrad>
struct BranchFactor {
  float values[2][4];  // of the two rows: reduction indices 2t, 2t + 1, 2t + 8, 2t + 9 of a k16

  __device__ __forceinline__ void Load(const GemmArguments &call, int row, int t, int k16) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int at = 16 * k16 + 2 * t + (i & 1) + (i >> 1) * 8;
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const bool inside = row + r < call.rows && at < call.rank;
        const int64_t from = kGrad ? static_cast<int64_t>(at) * call.rows + row + r
                                   : static_cast<int64_t>(row + r) * call.rank + at;
        values[r][i] = inside ? __ldg(call.factor + from) : 0.0f;
      }
    }
  }
  __device__ __forceinline__ void ConvertTo(uint32_t (&fragment)[4]) const {
#pragma unroll
    for (int i = 0; i < 4; ++i)
      fragment[i] = Pack2<kHalf>(values[i & 1][(i >> 1) * 2], values[i & 1][(i >> 1) * 2 + 1]);
  }
};

// The steps of 64 that a branch adds to the reduction.
__device__ __forceinline__ int BranchSteps(const GemmArguments &call) {
  return (call.rank + kStep - 1) / kStep;
}

// sums += factor * narrow over step `step` of the branch, whose narrow activations lie at `activations`;
// `factor` holds the step's first k16.
template <bool kHalf, bool kGrad, int kTokens>
__device__ __forceinline__ void AddBranch(const GemmArguments &call, float (&sums)[kTokens / 2],
                                          BranchFactor<kHalf, kGrad> &factor, int row, int t, int step,
                                          uint32_t activations) {
  const int first = step * (kStep / 16), end = min(first + kStep / 16, (call.rank + 15) / 16);
  for (int k16 = first; k16 < end; ++k16) {
    uint32_t fragment[4];
    factor.ConvertTo(fragment);
    WgmmaFence();
    Wgmma<kHalf, kTokens>(sums, fragment,
                          TileDescriptor(activations) + static_cast<uint64_t>(k16 - first) * 2);
    WgmmaCommit();
    factor.Load(call, row, t, k16 + 1);
    WgmmaWait<0>();
  }
}

// The products of one step, as one group.
template <bool kHalf, int kTokens>
__device__ __forceinline__ void IssueStep(float (&sums)[kTokens / 2], const uint32_t (&fragments)[4][4],
                                          uint32_t activations) {
  const uint64_t descriptor = TileDescriptor(activations);
  WgmmaFence();
#pragma unroll
  for (int k16 = 0; k16 < 4; ++k16) {
    Wgmma<kHalf, kTokens>(sums, fragments[k16], descriptor + static_cast<uint64_t>(k16) * 2);
  }
  WgmmaCommit();
}

}  // namespace ortqlora::cuda

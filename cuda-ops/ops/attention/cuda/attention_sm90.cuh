#pragma once

// What the kernels for sm_90a share: two warpgroups that multiply, 64 rows of scores each, and a ring of
// tiles of 64 rows that one thread has copied.

#include "common/cuda/numbers.cuh"
#include "common/cuda/sm90.cuh"
#include "common/cuda/tensor_map.h"
#include "ops/attention/cuda/attention_tile.cuh"
#include "ops/attention/cuda/attention_wgmma.cuh"

namespace ortqlora::cuda {

constexpr int kHopperThreads = 384;  // of the gradients: a third warpgroup copies
constexpr int kTileRows = 64, kPartBytes = kTileRows * 128;

template <int kD>
constexpr int kParts = kD / 64;
template <int kD>
constexpr int kTileBytes = kParts<kD>* kPartBytes;

// The tensors of heads as copies see them.
struct HopperTensors {
  CUtensorMap q, k, v, dy;
};

template <typename T>
HopperTensors TensorsOf(const AttentionArguments& call) {
  const auto map = [&](const void* data, const HeadStrides& strides, int size, int positions, int heads) {
    const int64_t sizes[4] = {size, positions, heads, call.batch},
                  steps[3] = {strides.position, strides.head, strides.batch};
    return TensorMap(kIsHalf<T> ? Element::kHalf : Element::kBfloat16, data, sizes, steps, kTileRows);
  };
  HopperTensors tensors = {};
  tensors.q = map(call.q, call.q_strides, call.size, call.queries, call.heads);
  tensors.k = map(call.k, call.k_strides, call.size, call.keys, call.groups);
  tensors.v = map(call.v, call.v_strides, call.value_size, call.keys, call.groups);
  if (call.dy != nullptr)
    tensors.dy = map(call.dy, call.y_strides, call.value_size, call.queries, call.heads);
  return tensors;
}

// Starts the copy of a tile; what lies beyond the tensor becomes 0. The barrier counts kTileBytes.
template <int kD>
__device__ __forceinline__ void LoadTile(uint32_t to, const CUtensorMap* map, int position, int head,
                                         int batch, uint32_t barrier) {
#pragma unroll
  for (int part = 0; part < kParts<kD>; ++part)
    TensorLoad(to + part * kPartBytes, map, part * 64, position, head, batch, barrier);
}

// scores[64, 64] = a * tile^T, both tiles of kD features. (Both in shared memory: ptxas 12.4 gives registers
// of an operand that stays the same over a loop to other values within it.)
template <bool kHalf, int kD>
__device__ __forceinline__ void MultiplyRows(float (&scores)[32], uint32_t a, uint32_t tile) {
#pragma unroll
  for (int k16 = 0; k16 < kD / 16; ++k16) {
    const int at = k16 / 4 * kPartBytes, within = (k16 % 4) * 2;
    Wgmma64<kHalf>(scores, TileDescriptor(a + at) + within, TileDescriptor(tile + at) + within, k16 != 0);
  }
}

// sums[64, kD] += weights[64, 64] * tile; the reduction runs over the tile's rows.
template <bool kHalf, int kD>
__device__ __forceinline__ void AddRows(float (&sums)[kParts<kD>][32], const uint32_t (&weights)[4][4],
                                        uint32_t tile) {
#pragma unroll
  for (int k16 = 0; k16 < 4; ++k16) {
#pragma unroll
    for (int part = 0; part < kParts<kD>; ++part) {
      Wgmma64<kHalf>(sums[part], weights[k16], TileDescriptor(tile + part * kPartBytes + k16 * 2048));
    }
  }
}

// Sums of 0 that the compiler cannot see to be constant: otherwise it puts their start between the products,
// and serializes those (C7515).
template <int kCount>
__device__ __forceinline__ void Clear(float (&sums)[kCount][32]) {
#pragma unroll
  for (int part = 0; part < kCount; ++part) {
#pragma unroll
    for (int i = 0; i < 32; ++i) asm volatile("mov.f32 %0, 0f00000000;" : "=f"(sums[part][i]));
  }
}

// Weights as operand A, rounded.
template <bool kHalf>
__device__ __forceinline__ void PackWeights(uint32_t (&to)[4][4], const float (&weights)[32]) {
#pragma unroll
  for (int k16 = 0; k16 < 4; ++k16) {
#pragma unroll
    for (int i = 0; i < 4; ++i)
      to[k16][i] = Pack2<kHalf>(weights[8 * k16 + 2 * i], weights[8 * k16 + 2 * i + 1]);
  }
}

// A ring of stages, each with two barriers: full once copied, empty once both warpgroups have read it.
struct Ring {
  uint32_t barriers;
  int stage = 0;
  uint32_t parity;
  bool arrives;

  __device__ __forceinline__ Ring(const AttentionArguments& call, uint32_t at, uint32_t first_parity)
      : barriers(at), parity(first_parity), arrives((threadIdx.x & 31) == 0 || call.every_lane_arrives) {}
  template <int kStages>
  static __device__ __forceinline__ void Init(const AttentionArguments& call, uint32_t at) {
    for (int i = 0; i < kStages; ++i) {
      BarrierInit(at + 16 * i, 1);
      BarrierInit(at + 16 * i + 8, call.every_lane_arrives ? 256 : 8);  // else a lane of every warp
    }
  }
  __device__ __forceinline__ uint32_t full() const { return barriers + 16 * stage; }
  __device__ __forceinline__ void WaitFull() const { BarrierWait(full(), parity); }
  __device__ __forceinline__ void WaitEmpty() const { BarrierWait(full() + 8, parity); }
  template <int kStages>
  __device__ __forceinline__ void Next() {
    if (++stage == kStages) stage = 0, parity ^= 1;
  }
  __device__ __forceinline__ void Release(int of) const {
    __syncwarp();
    if (arrives) BarrierArrive(barriers + 16 * of + 8);
  }
};

// Rows g and g + 8 of a warpgroup's result, `first` being its first position.
template <typename T, int kD>
__device__ __forceinline__ void StoreRows(T* head, int64_t stride, int first, int positions, int size,
                                          const float (&factor)[2], const float (&sums)[kParts<kD>][32]) {
  const int warp = (threadIdx.x >> 5) & 3, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int position = first + warp * 16 + g + half * 8;
    if (position >= positions) continue;
    T* const row = head + position * stride;
#pragma unroll
    for (int n = 0; n < kD / 8; ++n) {
      const float* const pair = sums[n / 8] + n % 8 * 4 + half * 2;
      StorePair(row, n * 8 + 2 * t, size, true, pair[0] * factor[half], pair[1] * factor[half]);
    }
  }
}

}  // namespace ortqlora::cuda

#pragma once

// How kernels of persistent blocks end a tile: results pass through shared memory, from where the copy engine
// stores them. The addend's tile takes that memory first, copied while the tile is multiplied.

#include "common/cuda/sm90.cuh"
#include "ops/matmul_int8/cuda/gemm_epilogue.cuh"

namespace ortqlora::cuda {

// Of one consumer warpgroup, which holds 64 rows of a tile of kTokens tokens.
template <int kTokens>
class TileStore {
 public:
  static constexpr int kBytes = kTokens * 128;  // of shared memory, aligned to 1024

  // `barrier` takes one arrival.
  __device__ __forceinline__ TileStore(const GemmArguments& call, uint32_t memory, uint32_t barrier)
      : memory_(memory),
        barrier_(barrier),
        leader_((threadIdx.x & 127) == 0),
        has_addend_(call.addend != nullptr && call.tensor_store) {}

  // Begins a tile.
  __device__ __forceinline__ void Begin(const CUtensorMap* addend, int row, int token) const {
    if (!has_addend_ || !leader_) return;
    StoreWaitRead();
    BarrierExpect(barrier_, kBytes);
    TensorLoad(memory_, addend, row, token, barrier_);
  }

  // Stores the sums of a tile whose first row and token are given; the thread's rows are `pair`'s.
  template <bool kHalf>
  __device__ __forceinline__ void Finish(const GemmArguments& call, const RowPair& pair,
                                         const float (&sums)[kTokens / 2], const CUtensorMap* out, int row,
                                         int token) {
    const int warpgroup = threadIdx.x >> 7, warp = (threadIdx.x >> 5) & 3, lane = threadIdx.x & 31;
    const int g = lane >> 2, t = lane & 3;
    if (!call.tensor_store) {
#pragma unroll
      for (int j = 0; j < kTokens / 8; ++j) {
#pragma unroll
        for (int c = 0; c < 2; ++c) {
          pair.Store<kHalf>(call, token + 8 * j + 2 * t + c, sums[4 * j + c], sums[4 * j + 2 + c]);
        }
      }
      return;
    }
    const int chunk = 2 * warp + (g >> 2), within = (g & 3) * 4;
    // Stores word(address, sums of both rows) for each token.
    const auto for_words = [&](const auto& word) {
#pragma unroll
      for (int j = 0; j < kTokens / 8; ++j) {
#pragma unroll
        for (int c = 0; c < 2; ++c) {
          const int in_tile = 8 * j + 2 * t + c;
          const uint32_t at = memory_ + in_tile * 128 + ((chunk ^ (in_tile & 7)) << 4) + within;
          StoreShared(at, word(at, sums[4 * j + c], sums[4 * j + 2 + c]));
        }
      }
    };
    if (has_addend_) {
      BarrierWait(barrier_, parity_);
      parity_ ^= 1;
      for_words([&](uint32_t at, float first, float second) {
        return pair.PackedOnto<kHalf>(LoadShared(at), first, second);
      });
    } else {
      if (leader_) StoreWaitRead();
      WarpgroupSync(warpgroup);
      for_words([&](uint32_t, float first, float second) { return pair.Packed<kHalf>(first, second); });
    }
    AsyncProxyFence();
    WarpgroupSync(warpgroup);
    if (leader_) {
      if (row < call.rows) TensorStore(out, memory_, row, token);
      StoreCommit();
    }
  }

  // Until everything is stored.
  __device__ __forceinline__ void Wait() const {
    if (leader_) StoreWait();
  }

 private:
  uint32_t memory_, barrier_, parity_ = 0;
  bool leader_, has_addend_;
};

}  // namespace ortqlora::cuda

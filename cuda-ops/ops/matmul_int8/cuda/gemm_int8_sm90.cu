// Many rows of activations on Hopper in int8 (compute mode 'int8'): both operands in shared memory, int32
// sums; scales of rows and features, the low-rank branch and the addend come at the end, in fp32. The rest is
// as in gemm_sm90.cu.

#include <algorithm>

#include "common/cuda/check.h"
#include "common/cuda/tensor_map.h"
#include "ops/matmul_int8/cuda/gemm_sm90.cuh"
#include "ops/matmul_int8/cuda/gemm_tile_store.cuh"

namespace ortqlora::cuda {
namespace {

constexpr int kThreads = 384, kTokens = 256, kReduction = 128;

struct Memory {
  static constexpr int kActivationBytes = kTokens * kReduction, kWeights = kRowTile * kReduction;
  static constexpr int kStageBytes = kActivationBytes + kWeights, kStages = 3;
  static constexpr int kStoreAt = kStages * kStageBytes;
  static constexpr int kBarriersAt = kStoreAt + 2 * TileStore<kTokens>::kBytes;
  static constexpr int kAddendBarriersAt = kBarriersAt + kStages * 16;
  static constexpr int kBytes = kAddendBarriersAt + 16 + 1024;
};

template <bool kHalf, bool kGrad>
__global__ __launch_bounds__(kThreads, 1) void GemmInt8Sm90Kernel(
    const __grid_constant__ CUtensorMap weights, const __grid_constant__ CUtensorMap activations,
    const __grid_constant__ CUtensorMap narrow, const __grid_constant__ CUtensorMap addend,
    const __grid_constant__ CUtensorMap out, const GemmArguments call) {
  using M = Memory;
  extern __shared__ uint8_t shared[];
  const uint32_t base = (SharedAddress(shared) + 1023) & ~1023u, barriers = base + M::kBarriersAt;
  const int group = threadIdx.x >> 7;
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < M::kStages; ++stage) {
      BarrierInit(barriers + 16 * stage, 1);
      BarrierInit(barriers + 16 * stage + 8, call.every_lane_arrives ? 256 : 8);
    }
    for (int i = 0; i < 2; ++i) BarrierInit(base + M::kAddendBarriersAt + 8 * i, 1);
    BarrierInitFence();
  }
  __syncthreads();
  const TileOrder order{(call.rows + kRowTile - 1) / kRowTile, (call.m + kTokens - 1) / kTokens};
  const int tiles = order.count();

  if (group == 0) {
    LowerRegisters<40>();
    if (threadIdx.x == 0) {
      int stage = 0;
      uint32_t parity = 1;
      // Waits for the next stage, which is to hold so many bytes.
      const auto begin = [&](int bytes) {
        BarrierWait(barriers + 16 * stage + 8, parity);
        BarrierExpect(barriers + 16 * stage, bytes);
        return base + stage * M::kStageBytes;
      };
      const auto next = [&] {
        if (++stage == M::kStages) stage = 0, parity ^= 1;
      };
      for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        int row_tile, token_tile;
        order.At(tile, row_tile, token_tile);
        for (int step = 0; step < call.steps; ++step, next()) {
          const uint32_t to = begin(M::kStageBytes), full = barriers + 16 * stage;
          TensorLoad(to, &activations, step * kReduction, token_tile * kTokens, full);
          TensorLoad(to + M::kActivationBytes, &weights, step * kReduction, row_tile * kRowTile, full);
        }
        for (int step = 0; step < BranchSteps(call); ++step, next()) {
          const uint32_t to = begin(M::kActivationBytes);
          TensorLoad(to, &narrow, step * kStep, token_tile * kTokens, barriers + 16 * stage);
        }
      }
    }
  } else {
    RaiseRegisters<232>();
    const int warpgroup = group - 1, warp = (threadIdx.x >> 5) & 3, lane = threadIdx.x & 31;
    const int g = lane >> 2, t = lane & 3;
    const bool arrives = lane == 0 || call.every_lane_arrives;
    int stage = 0;
    uint32_t parity = 0;
    TileStore<kTokens> results(call, base + M::kStoreAt + warpgroup * TileStore<kTokens>::kBytes,
                               base + M::kAddendBarriersAt + 8 * warpgroup);
    const auto release = [&](int s) {
      if (arrives) BarrierArrive(barriers + 16 * s + 8);
    };
    const auto next = [&] {
      if (++stage == M::kStages) stage = 0, parity ^= 1;
    };
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
      int row_tile, token_tile;
      order.At(tile, row_tile, token_tile);
      const int first = row_tile * kRowTile + warpgroup * 64, token = token_tile * kTokens;
      const int row = first + warp * 16 + 2 * g;
      results.Begin(&addend, first, token);
      int products[kTokens / 2];
#pragma unroll
      for (int i = 0; i < kTokens / 2; ++i) products[i] = 0;
      int previous = 0;
      for (int step = 0; step < call.steps; ++step) {
        BarrierWait(barriers + 16 * stage, parity);
        const uint32_t at = base + stage * M::kStageBytes;
        const uint64_t b = TileDescriptor(at),
                       a = TileDescriptor(at + M::kActivationBytes + warpgroup * 64 * kReduction);
        WgmmaFence();
#pragma unroll
        for (int k32 = 0; k32 < kReduction / 32; ++k32) {
          WgmmaInt8(products, a + static_cast<uint64_t>(k32) * 2, b + static_cast<uint64_t>(k32) * 2);
        }
        WgmmaCommit();
        WgmmaWait<1>();
        if (step > 0) release(previous);
        previous = stage;
        next();
      }
      BranchFactor<kHalf, kGrad> factor;
      if (call.rank > 0) factor.Load(call, row, t, 0);
      WgmmaWait<0>();
      if (call.steps > 0) release(previous);

      float sums[kTokens / 2];
#pragma unroll
      for (int j = 0; j < kTokens / 8; ++j) {
        // Padded to whole tiles.
        const float2 scale = __ldg(reinterpret_cast<const float2*>(call.token_scale + token + 8 * j + 2 * t));
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          sums[4 * j + i] = static_cast<float>(products[4 * j + i]) * ((i & 1) == 0 ? scale.x : scale.y);
        }
      }
      RowPair pair(call, row);
      if (call.rank > 0) {
        pair.Apply(sums);
        for (int step = 0; step < BranchSteps(call); ++step) {
          BarrierWait(barriers + 16 * stage, parity);
          AddBranch<kHalf, kGrad, kTokens>(call, sums, factor, row, t, step, base + stage * M::kStageBytes);
          release(stage);
          next();
        }
      }
      results.template Finish<kHalf>(call, pair, sums, &out, first, token);
    }
    results.Wait();
  }
}

template <bool kHalf, bool kGrad>
void Launch(const GemmArguments& call, int multiprocessors, cudaStream_t stream) {
  const auto kernel = GemmInt8Sm90Kernel<kHalf, kGrad>;
  static const cudaError_t raised =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, Memory::kBytes);
  Check(raised, "cudaFuncSetAttribute of GemmInt8Sm90Kernel");
  const Element element = kHalf ? Element::kHalf : Element::kBfloat16;
  const int64_t width = int64_t{call.steps} * kReduction;
  const CUtensorMap weights =
      ByteMatrixMap(call.int8_weight, width, CeilDiv(call.rows, kRowTile) * kRowTile, width, kRowTile);
  const CUtensorMap activations = ByteMatrixMap(call.activations, width, call.m, width, kTokens);
  const CUtensorMap narrow =
      call.rank > 0 ? MatrixMap(element, call.narrow, call.rank, call.m, call.rank, kTokens) : activations;
  const auto results = [&](const void* data) {
    return call.tensor_store && data != nullptr
               ? MatrixMap(element, data, call.rows, call.m, call.rows, kTokens)
               : activations;
  };
  const CUtensorMap addend = results(call.addend), out = results(call.out);
  const int64_t tiles = CeilDiv(call.rows, kRowTile) * CeilDiv(call.m, kTokens);
  kernel<<<static_cast<unsigned>(std::min<int64_t>(tiles, multiprocessors)), kThreads, Memory::kBytes,
           stream>>>(weights, activations, narrow, addend, out, call);
  CheckLaunch("GemmInt8Sm90Kernel");
}

}  // namespace

void LaunchGemmInt8Sm90(const GemmVariant& variant, const GemmArguments& call, int multiprocessors,
                        cudaStream_t stream) {
  if (variant.half) {
    variant.grad ? Launch<true, true>(call, multiprocessors, stream)
                 : Launch<true, false>(call, multiprocessors, stream);
  } else {
    variant.grad ? Launch<false, true>(call, multiprocessors, stream)
                 : Launch<false, false>(call, multiprocessors, stream);
  }
}

}  // namespace ortqlora::cuda

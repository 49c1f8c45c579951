// Many rows of activations on Hopper: persistent blocks of one warpgroup that copies and two that multiply,
// the weight converted in registers while the tensor cores work on the step before.

#include <algorithm>

#include "common/cuda/check.h"
#include "common/cuda/tensor_map.h"
#include "ops/matmul_int8/cuda/gemm_sm90.cuh"
#include "ops/matmul_int8/cuda/gemm_tile_store.cuh"

namespace ortqlora::cuda {
namespace {

constexpr int kThreads = 384;
// Shared memory, from an address aligned to 1024 bytes: stages of activations and weights, a staging buffer
// for the results of each consumer warpgroup, which the addend's tile takes before them, scales, two barriers
// a stage (full, empty) and one for the addend of each warpgroup.
template <int kTokens>
struct Memory {
  static constexpr int kActivationBytes = kTokens * 128;
  static constexpr int kStageBytes = kActivationBytes + kWeightBytes;
  static constexpr int kStages = kTokens == 256 ? 4 : 6;
  static constexpr int kStoreBytes = TileStore<kTokens>::kBytes;
  static constexpr int kStoreAt = kStages * kStageBytes;
  static constexpr int kFactorsAt = kStoreAt + 2 * kStoreBytes;
  static constexpr int kBarriersAt = kFactorsAt + kStages * kFactorBytes;
  static constexpr int kAddendBarriersAt = kBarriersAt + kStages * 16;
  static constexpr int kBytes = kAddendBarriersAt + 16 + 1024;
};

template <int kTokens, bool kHalf, bool kGrad, bool kScaled>
__global__ __launch_bounds__(kThreads, 1) void GemmSm90Kernel(const __grid_constant__ CUtensorMap activations,
                                                              const __grid_constant__ CUtensorMap narrow,
                                                              const __grid_constant__ CUtensorMap addend,
                                                              const __grid_constant__ CUtensorMap out,
                                                              const GemmArguments call) {
  using M = Memory<kTokens>;
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
      for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        int row_tile, token_tile;
        order.At(tile, row_tile, token_tile);
        WeightCursor<kGrad, kScaled> weights(call, row_tile * kRowTile, 0);
        for (int step = 0; step < call.steps; ++step) {
          const uint32_t full = barriers + 16 * stage, to = base + stage * M::kStageBytes;
          BarrierWait(full + 8, parity);
          BarrierExpect(full, M::kStageBytes + (kScaled ? kFactorBytes : 0));
          weights.Load(to + M::kActivationBytes, base + M::kFactorsAt + stage * kFactorBytes, full);
          TensorLoad(to, &activations, step * kStep, token_tile * kTokens, full);
          if (++stage == M::kStages) stage = 0, parity ^= 1;
        }
        for (int step = 0; step < BranchSteps(call); ++step) {
          const uint32_t full = barriers + 16 * stage;
          BarrierWait(full + 8, parity);
          BarrierExpect(full, M::kActivationBytes);
          TensorLoad(base + stage * M::kStageBytes, &narrow, step * kStep, token_tile * kTokens, full);
          if (++stage == M::kStages) stage = 0, parity ^= 1;
        }
      }
    }
  } else {
    RaiseRegisters<232>();
    const int warpgroup = group - 1, warp = (threadIdx.x >> 5) & 3, lane = threadIdx.x & 31;
    const int g = lane >> 2, t = lane & 3;
    int stage = 0, previous = 0;
    uint32_t parity = 0;
    TileStore<kTokens> results(call, base + M::kStoreAt + warpgroup * M::kStoreBytes,
                               base + M::kAddendBarriersAt + 8 * warpgroup);
    float sums[kTokens / 2];
    const bool arrives = lane == 0 || call.every_lane_arrives;
    uint32_t fragments[2][4][4];
    OperandA<kHalf, kGrad, kScaled> operand;
    const auto full = [&](int s) { return barriers + 16 * s; };
    const auto release = [&](int s) {
      if (arrives) BarrierArrive(full(s) + 8);
    };
    const auto load = [&] {
      BarrierWait(full(stage), parity);
      operand.Load(base + stage * M::kStageBytes + M::kActivationBytes,
                   base + M::kFactorsAt + stage * kFactorBytes, warpgroup, warp, g, t);
    };
    // Issues a step and prepares the fragments of the next one while the tensor cores work.
    const auto advance = [&](uint32_t(&current)[4][4], uint32_t(&next)[4][4], bool release_previous) {
      IssueStep<kHalf, kTokens>(sums, current, base + stage * M::kStageBytes);
      const int issued = stage;
      if (++stage == M::kStages) stage = 0, parity ^= 1;
      load();
      WgmmaWait<1>();
      if (release_previous) release(previous);
      previous = issued;
      operand.ConvertTo(next);
    };
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
      int row_tile, token_tile;
      order.At(tile, row_tile, token_tile);
#pragma unroll
      for (int i = 0; i < kTokens / 2; ++i) sums[i] = 0;
      load();
      operand.ConvertTo(fragments[0]);
      const int first = row_tile * kRowTile + warpgroup * 64, token = token_tile * kTokens;
      results.Begin(&addend, first, token);
      for (int step = 0; step + 2 < call.steps; step += 2) {
        advance(fragments[0], fragments[1], step > 0);
        advance(fragments[1], fragments[0], true);
      }
      const int row = first + warp * 16 + 2 * g;
      BranchFactor<kHalf, kGrad> factor;
      if (call.rank > 0) factor.Load(call, row, t, 0);
      advance(fragments[0], fragments[1], call.steps > 2);
      IssueStep<kHalf, kTokens>(sums, fragments[1], base + stage * M::kStageBytes);
      WgmmaWait<0>();
      release(previous);
      release(stage);
      if (++stage == M::kStages) stage = 0, parity ^= 1;

      RowPair pair(call, row);
      if (call.rank > 0) {
        pair.Apply(sums);
        for (int step = 0; step < BranchSteps(call); ++step) {
          BarrierWait(full(stage), parity);
          AddBranch<kHalf, kGrad, kTokens>(call, sums, factor, row, t, step, base + stage * M::kStageBytes);
          release(stage);
          if (++stage == M::kStages) stage = 0, parity ^= 1;
        }
      }
      results.template Finish<kHalf>(call, pair, sums, &out, first, token);
    }
    results.Wait();
  }
}

template <int kTokens, bool kHalf, bool kGrad, bool kScaled>
void Launch(const GemmArguments& call, int multiprocessors, cudaStream_t stream) {
  constexpr int kBytes = Memory<kTokens>::kBytes;
  const auto kernel = GemmSm90Kernel<kTokens, kHalf, kGrad, kScaled>;
  static const cudaError_t raised =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  Check(raised, "cudaFuncSetAttribute of GemmSm90Kernel");
  const Element element = kHalf ? Element::kHalf : Element::kBfloat16;
  const CUtensorMap activations =
      MatrixMap(element, call.activations, call.columns, call.m, call.pitch, kTokens);
  const CUtensorMap narrow =
      call.rank > 0 ? MatrixMap(element, call.narrow, call.rank, call.m, call.rank, kTokens) : activations;
  const auto results = [&](const void* data) {
    return call.tensor_store && data != nullptr
               ? MatrixMap(element, data, call.rows, call.m, call.rows, kTokens)
               : activations;
  };
  const CUtensorMap addend = results(call.addend), out = results(call.out);
  const int64_t tiles = CeilDiv(call.rows, kRowTile) * CeilDiv(call.m, kTokens);
  kernel<<<static_cast<unsigned>(std::min<int64_t>(tiles, multiprocessors)), kThreads, kBytes, stream>>>(
      activations, narrow, addend, out, call);
  CheckLaunch("GemmSm90Kernel");
}

template <int kTokens, bool kHalf>
void Dispatch(const GemmVariant& variant, const GemmArguments& call, int multiprocessors,
              cudaStream_t stream) {
  if (!variant.grad) return Launch<kTokens, kHalf, false, false>(call, multiprocessors, stream);
  if (!variant.scaled) return Launch<kTokens, kHalf, true, false>(call, multiprocessors, stream);
  Launch<kTokens, kHalf, true, true>(call, multiprocessors, stream);
}

}  // namespace

void LaunchGemmSm90(const GemmVariant& variant, int tokens, const GemmArguments& call, int multiprocessors,
                    cudaStream_t stream) {
  if (tokens == 256) {
    variant.half ? Dispatch<256, true>(variant, call, multiprocessors, stream)
                 : Dispatch<256, false>(variant, call, multiprocessors, stream);
  } else {
    variant.half ? Dispatch<128, true>(variant, call, multiprocessors, stream)
                 : Dispatch<128, false>(variant, call, multiprocessors, stream);
  }
}

}  // namespace ortqlora::cuda

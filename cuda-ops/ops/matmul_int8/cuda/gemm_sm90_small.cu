// Few rows of activations on Hopper: bound by reading the weight, so a cluster of blocks shares each tile of
// 128 output features, splits the reduction and adds up through distributed shared memory.

#include "common/cuda/check.h"
#include "common/cuda/tensor_map.h"
#include "ops/matmul_int8/cuda/gemm_epilogue.cuh"
#include "ops/matmul_int8/cuda/gemm_sm90.cuh"

namespace ortqlora::cuda {
namespace {

constexpr int kThreads = 288;  // two consumer warpgroups and a producer warp

template <int kTokens>
struct Memory {
  static constexpr int kActivationBytes = kTokens * 128;
  static constexpr int kStageBytes = kActivationBytes + kWeightBytes;
  // Up to 64 tokens half of a multiprocessor's shared memory, so that the next kernel fits beside this one.
  static constexpr int kStages = kTokens <= 16 ? 10 : kTokens == 64 ? 6 : 8;
  static constexpr int kFactorsAt = kStages * kStageBytes;
  static constexpr int kBarriersAt = kFactorsAt + kStages * kFactorBytes;
  static constexpr int kBytes = kBarriersAt + kStages * 16 + 1024;
  static_assert(kTokens * kRowTile * 4 <= kFactorsAt, "partial sums take the place of the stages");
};

// Two blocks on a multiprocessor wherever 96 registers a thread are enough.
template <int kTokens, bool kScaled>
constexpr int kBlocks = kTokens <= 32 || (kTokens == 64 && !kScaled) ? 2 : 1;

template <int kTokens, bool kHalf, bool kGrad, bool kScaled>
__global__ __launch_bounds__(kThreads, (kBlocks<kTokens, kScaled>)) void GemmSm90SmallKernel(
    const __grid_constant__ CUtensorMap activations, const __grid_constant__ CUtensorMap narrow,
    const GemmArguments call) {
  using M = Memory<kTokens>;
  extern __shared__ uint8_t shared[];
  const uint32_t base = (SharedAddress(shared) + 1023) & ~1023u, barriers = base + M::kBarriersAt;
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
  const uint32_t rank = ClusterRank(), split = ClusterSize();
  const int row = static_cast<int>(blockIdx.x / split) * kRowTile,
            token = static_cast<int>(blockIdx.y) * kTokens;
  // Consumers take steps in pairs.
  const uint32_t pairs = static_cast<uint32_t>(call.steps) / 2;
  const int begin = static_cast<int>(pairs * rank / split) * 2,
            end = static_cast<int>(pairs * (rank + 1) / split) * 2;
  // The block with the last part of the reduction adds the branch too.
  const int branch_steps = rank == split - 1 ? BranchSteps(call) : 0;
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < M::kStages; ++stage) {
      BarrierInit(barriers + 16 * stage, 1);
      BarrierInit(barriers + 16 * stage + 8, call.every_lane_arrives ? 256 : 8);
    }
    BarrierInitFence();
  }
  __syncthreads();
  LaunchDependents();

  float sums[kTokens / 2];
#pragma unroll
  for (int i = 0; i < kTokens / 2; ++i) sums[i] = 0;
  const int warpgroup = warp >> 2, warp_row = warp & 3, g = lane >> 2, t = lane & 3;
  if (warp == 8) {
    if (lane == 0) {
      WeightCursor<kGrad, kScaled> weights(call, row, begin);
      const auto load_weights = [&](int stage) {
        const uint32_t full = barriers + 16 * stage;
        BarrierExpect(full, M::kStageBytes + (kScaled ? kFactorBytes : 0));
        weights.Load(base + stage * M::kStageBytes + M::kActivationBytes,
                     base + M::kFactorsAt + stage * kFactorBytes, full);
      };
      // Weights are frozen: the first ones are on their way before the kernel that makes the activations has
      // ended.
      const int ahead = min(M::kStages, end - begin);
      for (int i = 0; i < ahead; ++i) load_weights(i);
      WaitForPrevious();
      int stage = 0;
      uint32_t parity = 1;
      for (int step = begin; step < end; ++step) {
        if (step - begin >= M::kStages) {
          BarrierWait(barriers + 16 * stage + 8, parity);
          load_weights(stage);
        }
        TensorLoad(base + stage * M::kStageBytes, &activations, step * kStep, token, barriers + 16 * stage);
        if (++stage == M::kStages) stage = 0, parity ^= 1;
      }
      for (int step = 0; step < branch_steps; ++step) {
        const uint32_t full = barriers + 16 * stage;
        if (end - begin + step >= M::kStages) BarrierWait(full + 8, parity);
        BarrierExpect(full, M::kActivationBytes);
        TensorLoad(base + stage * M::kStageBytes, &narrow, step * kStep, token, full);
        if (++stage == M::kStages) stage = 0, parity ^= 1;
      }
    }
    __syncwarp();
  } else {
    int stage = 0, previous = 0;
    uint32_t parity = 0;
    const bool arrives = lane == 0 || call.every_lane_arrives;
    uint32_t fragments[2][4][4];
    OperandA<kHalf, kGrad, kScaled> operand;
    const auto load = [&] {
      BarrierWait(barriers + 16 * stage, parity);
      operand.Load(base + stage * M::kStageBytes + M::kActivationBytes,
                   base + M::kFactorsAt + stage * kFactorBytes, warpgroup, warp_row, g, t);
    };
    const auto advance = [&](uint32_t(&current)[4][4], uint32_t(&next)[4][4], bool release_previous) {
      IssueStep<kHalf, kTokens>(sums, current, base + stage * M::kStageBytes);
      const int issued = stage;
      if (++stage == M::kStages) stage = 0, parity ^= 1;
      load();
      WgmmaWait<1>();
      if (release_previous && arrives) BarrierArrive(barriers + 16 * previous + 8);
      previous = issued;
      operand.ConvertTo(next);
    };
    if (begin < end) {
      load();
      operand.ConvertTo(fragments[0]);
      for (int step = begin; step + 2 < end; step += 2) {
        advance(fragments[0], fragments[1], step > begin);
        advance(fragments[1], fragments[0], true);
      }
      advance(fragments[0], fragments[1], end - begin > 2);
      IssueStep<kHalf, kTokens>(sums, fragments[1], base + stage * M::kStageBytes);
      WgmmaWait<0>();
      if (arrives) {
        BarrierArrive(barriers + 16 * previous + 8);
        BarrierArrive(barriers + 16 * stage + 8);
      }
      if (++stage == M::kStages) stage = 0, parity ^= 1;
    }
    if (call.rank > 0) {
      const int own = row + warpgroup * 64 + warp_row * 16 + 2 * g;
      RowPair(call, own).Apply(sums);
      // The factor may be what an earlier kernel of the stream writes.
      WaitForPrevious();
      BranchFactor<kHalf, kGrad> factor;
      if (branch_steps > 0) factor.Load(call, own, t, 0);
      for (int step = 0; step < branch_steps; ++step) {
        BarrierWait(barriers + 16 * stage, parity);
        AddBranch<kHalf, kGrad, kTokens>(call, sums, factor, own, t, step, base + stage * M::kStageBytes);
        if (arrives) BarrierArrive(barriers + 16 * stage + 8);
        if (++stage == M::kStages) stage = 0, parity ^= 1;
      }
    }
  }

  // Partial sums [token][row] in place of the stages, which all warps have read.
  __syncthreads();
  if (warp < 8) {
    const int in_tile = warpgroup * 64 + warp_row * 16 + 2 * g;
#pragma unroll
    for (int j = 0; j < kTokens / 8; ++j) {
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        asm volatile(
            "st.shared.v2.f32 [%0], {%1, %2};" ::"r"(base + ((8 * j + 2 * t + c) * kRowTile + in_tile) * 4),
            "f"(sums[4 * j + c]), "f"(sums[4 * j + 2 + c])
            : "memory");
      }
    }
  }
  ClusterSync();
  // The addend may be what an earlier kernel of the stream writes.
  if (call.addend != nullptr) WaitForPrevious();
  for (int e = static_cast<int>(rank) * kThreads + threadIdx.x; e < kTokens * (kRowTile / 2);
       e += static_cast<int>(split) * kThreads) {
    const int in_tile = e / (kRowTile / 2), pair_row = e % (kRowTile / 2) * 2;
    float2 sum = make_float2(0, 0);
    for (uint32_t peer = 0; peer < split; ++peer) {
      const float2 part = LoadPeer(base + (in_tile * kRowTile + pair_row) * 4, peer);
      sum.x += part.x;
      sum.y += part.y;
    }
    RowPair pair(call, row + pair_row);
    if (call.rank > 0) pair.scale[0] = pair.scale[1] = 1.0f;
    pair.Store<kHalf>(call, token + in_tile, sum.x, sum.y);
  }
  ClusterSync();  // no block ends while another reads its sums
}

template <int kTokens, bool kHalf, bool kGrad, bool kScaled>
void Launch(int split, const GemmArguments& call, cudaStream_t stream) {
  constexpr int kBytes = Memory<kTokens>::kBytes;
  const auto kernel = GemmSm90SmallKernel<kTokens, kHalf, kGrad, kScaled>;
  static const cudaError_t raised =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  Check(raised, "cudaFuncSetAttribute of GemmSm90SmallKernel");
  const CUtensorMap activations = MatrixMap(kHalf ? Element::kHalf : Element::kBfloat16, call.activations,
                                            call.columns, call.m, call.pitch, kTokens);
  const CUtensorMap narrow = call.rank > 0 ? MatrixMap(kHalf ? Element::kHalf : Element::kBfloat16,
                                                       call.narrow, call.rank, call.m, call.rank, kTokens)
                                           : activations;
  cudaLaunchAttribute attributes[2] = {};
  attributes[0].id = cudaLaunchAttributeClusterDimension;
  attributes[0].val.clusterDim = {static_cast<unsigned>(split), 1, 1};
  attributes[1].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attributes[1].val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(CeilDiv(call.rows, kRowTile) * split),
                        static_cast<unsigned>(CeilDiv(call.m, kTokens)));
  config.blockDim = kThreads;
  config.dynamicSmemBytes = kBytes;
  config.stream = stream;
  config.attrs = attributes;
  config.numAttrs = call.frozen_weight ? 2 : 1;
  Check(cudaLaunchKernelEx(&config, kernel, activations, narrow, call), "GemmSm90SmallKernel");
}

template <int kTokens, bool kHalf>
void Dispatch(const GemmVariant& variant, int split, const GemmArguments& call, cudaStream_t stream) {
  if (!variant.grad) return Launch<kTokens, kHalf, false, false>(split, call, stream);
  if (!variant.scaled) return Launch<kTokens, kHalf, true, false>(split, call, stream);
  Launch<kTokens, kHalf, true, true>(split, call, stream);
}

template <bool kHalf>
void DispatchTokens(const GemmVariant& variant, int tokens, int split, const GemmArguments& call,
                    cudaStream_t stream) {
  switch (tokens) {
    case 8:
      return Dispatch<8, kHalf>(variant, split, call, stream);
    case 16:
      return Dispatch<16, kHalf>(variant, split, call, stream);
    case 32:
      return Dispatch<32, kHalf>(variant, split, call, stream);
    case 64:
      return Dispatch<64, kHalf>(variant, split, call, stream);
    default:
      return Dispatch<128, kHalf>(variant, split, call, stream);
  }
}

}  // namespace

void LaunchGemmSm90Small(const GemmVariant& variant, int tokens, int split, const GemmArguments& call,
                         cudaStream_t stream) {
  variant.half ? DispatchTokens<true>(variant, tokens, split, call, stream)
               : DispatchTokens<false>(variant, tokens, split, call, stream);
}

}  // namespace ortqlora::cuda

// dq = scale * ds * k with ds = p * (dy * v^T - delta), on wgmma: a warpgroup has 64 queries and passes over
// tiles of 64 keys, computing the probabilities anew from log_sum. The scores' gradients pass to the last
// product in registers.

#include "common/cuda/check.h"
#include "ops/attention/cuda/attention_sm90.cuh"

namespace ortqlora::cuda {
namespace {

constexpr int kQueries = 2 * kTileRows;

template <int kD>
struct Memory {
  static constexpr int kStages = 4;
  static constexpr int kStageBytes = 2 * kTileBytes<kD>;
  static constexpr int kGradientsAt = 2 * kTileBytes<kD>, kStagesAt = 4 * kTileBytes<kD>;
  static constexpr int kBarriersAt = kStagesAt + kStages * kStageBytes;
  static constexpr int kBytes = kBarriersAt + 16 * kStages + 8 + 1024;
};

template <typename T, int kD>
__global__ __launch_bounds__(kHopperThreads,
                             1) void QueryGradSm90Kernel(const __grid_constant__ CUtensorMap q,
                                                         const __grid_constant__ CUtensorMap k,
                                                         const __grid_constant__ CUtensorMap v,
                                                         const __grid_constant__ CUtensorMap dy,
                                                         const AttentionArguments call) {
  using M = Memory<kD>;
  constexpr bool kHalf = kIsHalf<T>;
  extern __shared__ uint8_t shared[];
  const uint32_t base = (SharedAddress(shared) + 1023) & ~1023u, stages = base + M::kStagesAt;
  const uint32_t barriers = base + M::kBarriersAt, rows_full = barriers + 16 * M::kStages;
  const int warpgroup = threadIdx.x >> 7;
  const int first = static_cast<int>(gridDim.x - 1 - blockIdx.x) * kQueries;
  const int head = blockIdx.y, batch = blockIdx.z, group = head / (call.heads / call.groups);
  const int end = KeyEnd(call, min(first + kQueries, call.queries) - 1);
  const auto next_visible = [&](int key) {
    while (key < end && KindOf<kQueries>(call, batch, head, first, key) == kHiddenTile) key += kTileRows;
    return key;
  };

  if (threadIdx.x == 0) {
    Ring::Init<M::kStages>(call, barriers);
    BarrierInit(rows_full, 1);
    BarrierInitFence();
  }
  __syncthreads();

  if (warpgroup == 2) {
    LowerRegisters<40>();
    if ((threadIdx.x & 127) != 0) return;
    BarrierExpect(rows_full, 4 * kTileBytes<kD>);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      LoadTile<kD>(base + i * kTileBytes<kD>, &q, first + i * kTileRows, head, batch, rows_full);
      LoadTile<kD>(base + M::kGradientsAt + i * kTileBytes<kD>, &dy, first + i * kTileRows, head, batch,
                   rows_full);
    }
    Ring ring(call, barriers, 1);
    for (int key = next_visible(0); key < end; key = next_visible(key + kTileRows)) {
      ring.WaitEmpty();
      BarrierExpect(ring.full(), M::kStageBytes);
      const uint32_t to = stages + ring.stage * M::kStageBytes;
      LoadTile<kD>(to, &k, key, group, batch, ring.full());
      LoadTile<kD>(to + kTileBytes<kD>, &v, key, group, batch, ring.full());
      ring.Next<M::kStages>();
    }
    return;
  }
  RaiseRegisters<232>();
  const int warp = (threadIdx.x >> 5) & 3, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
  const int own = first + warpgroup * kTileRows, row = own + warp * 16 + g;
  const int own_end = own < call.queries ? KeyEnd(call, min(own + kTileRows, call.queries) - 1) : 0;
  const int64_t mask_origin = MaskOrigin(call, batch, head);
  float log_sum[2], delta[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int query = row + half * 8;
    const bool inside = query < call.padded_queries;
    const int64_t at =
        (static_cast<int64_t>(batch) * call.heads + head) * call.padded_queries + (inside ? query : 0);
    log_sum[half] = inside ? call.log_sum[at] : -NegativeInfinity();
    delta[half] = inside ? call.delta[at] : 0.0f;
  }
  const uint32_t queries = base + warpgroup * kTileBytes<kD>, gradients = queries + M::kGradientsAt;
  Ring ring(call, barriers, 0);
  BarrierWait(rows_full, 0);
  float dq[kParts<kD>][32];
  Clear(dq);
  float scores[32], dp[32];
  uint32_t weights[4][4];
  int pending = -1;  // the stage that a product in flight still reads
  for (int key = next_visible(0); key < end; key = next_visible(key + kTileRows)) {
    const int kind = KindOf<kTileRows>(call, batch, head, own, key);
    ring.WaitFull();
    if (key >= own_end || kind == kHiddenTile) {
      ring.Release(ring.stage);
      ring.Next<M::kStages>();
      continue;
    }
    const uint32_t keys = stages + ring.stage * M::kStageBytes;
    WgmmaFence();
    MultiplyRows<kHalf, kD>(scores, queries, keys);
    WgmmaCommit();
    MultiplyRows<kHalf, kD>(dp, gradients, keys + kTileBytes<kD>);
    WgmmaCommit();
    WgmmaWait<1>();
    if (pending >= 0) ring.Release(pending);
    if (NeedsMask(call, kind, own, key, kTileRows)) {
#pragma unroll
      for (int i = 0; i < 32; ++i) scores[i] *= call.log2_scale;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        MaskKeys<8>(call, kind, mask_origin, row + half * 8, key + 2 * t,
                    [&](int n, int c) -> float& { return scores[n * 4 + half * 2 + c]; });
      }
#pragma unroll
      for (int i = 0; i < 32; ++i) {
        const int half = (i >> 1) & 1;
        scores[i] = MaskedProbability(call, scores[i], log_sum[half], row + half * 8);
      }
    } else {
#pragma unroll
      for (int i = 0; i < 32; ++i) scores[i] = Exp2(fmaf(scores[i], call.log2_scale, -log_sum[(i >> 1) & 1]));
    }
    WgmmaWait<0>();
#pragma unroll
    for (int i = 0; i < 32; ++i) scores[i] *= dp[i] - delta[(i >> 1) & 1];
    PackWeights<kHalf>(weights, scores);
    WgmmaFence();
    AddRows<kHalf, kD>(dq, weights, keys);
    WgmmaCommit();
    pending = ring.stage;
    ring.Next<M::kStages>();
  }
  WgmmaWait<0>();
  const float scale[2] = {call.scale, call.scale};
  StoreRows<T, kD>(static_cast<T*>(call.dq) + batch * call.q_strides.batch + head * call.q_strides.head,
                   call.q_strides.position, own, call.queries, call.size, scale, dq);
}

template <typename T, int kD>
void Launch(const AttentionArguments& call, cudaStream_t stream) {
  const auto kernel = QueryGradSm90Kernel<T, kD>;
  static const cudaError_t raised =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, Memory<kD>::kBytes);
  Check(raised, "cudaFuncSetAttribute of QueryGradSm90Kernel");
  const HopperTensors maps = TensorsOf<T>(call);
  const dim3 grid(static_cast<unsigned>(CeilDiv(call.queries, kQueries)), static_cast<unsigned>(call.heads),
                  static_cast<unsigned>(call.batch));
  kernel<<<grid, kHopperThreads, Memory<kD>::kBytes, stream>>>(maps.q, maps.k, maps.v, maps.dy, call);
  CheckLaunch("QueryGradSm90Kernel");
}

}  // namespace

template <typename T>
void LaunchQueryGradSm90(const AttentionArguments& call, cudaStream_t stream) {
  max(call.size, call.value_size) <= 64 ? Launch<T, 64>(call, stream) : Launch<T, 128>(call, stream);
}

template void LaunchQueryGradSm90<__half>(const AttentionArguments& call, cudaStream_t stream);
template void LaunchQueryGradSm90<__nv_bfloat16>(const AttentionArguments& call, cudaStream_t stream);

}  // namespace ortqlora::cuda

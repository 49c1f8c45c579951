// dv = p^T * dy and dk = scale * ds^T * q on wgmma: a warpgroup has 64 keys and passes over tiles of 64
// queries of every head that shares them, so that nothing is added up between blocks. Scores are computed
// transposed, and pass to the second products in registers.

#include "common/cuda/check.h"
#include "ops/attention/cuda/attention_sm90.cuh"

namespace ortqlora::cuda {
namespace {

constexpr int kKeys = 2 * kTileRows;

template <int kD>
struct Memory {
  static constexpr int kStages = 4;
  static constexpr int kSumsAt = 2 * kTileBytes<kD>, kSumBytes = kTileRows * 4;
  static constexpr int kStageBytes = kSumsAt + 1024;  // a stage's tiles are aligned to 1024 bytes
  static constexpr int kCopied = kSumsAt + 2 * kSumBytes;
  static constexpr int kValuesAt = 2 * kTileBytes<kD>, kStagesAt = 4 * kTileBytes<kD>;
  static constexpr int kBarriersAt = kStagesAt + kStages * kStageBytes;
  static constexpr int kBytes = kBarriersAt + 16 * kStages + 8 + 1024;
  // Whether the products of a step overlap with its exponentials and with the next step; large heads leave no
  // registers for that.
  static constexpr bool kOverlaps = kD == 64;
};

// Two neighbouring statistics of queries.
__device__ __forceinline__ float2 LoadPair(uint32_t address) {
  float2 pair;
  asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];" : "=f"(pair.x), "=f"(pair.y) : "r"(address) : "memory");
  return pair;
}

template <typename T, int kD>
__global__ __launch_bounds__(kHopperThreads, 1) void KeyGradSm90Kernel(const __grid_constant__ CUtensorMap q,
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
  // Under the causal rule the first keys are seen by the most queries: their blocks start first.
  const int first = blockIdx.z * kKeys, group = blockIdx.x, batch = blockIdx.y;
  const int sharing = call.heads / call.groups;
  const int first_query = call.causal ? max(first - call.offset, 0) / kTileRows * kTileRows : 0;
  const int end = call.queries;

  // The tiles of queries, head by head.
  struct Place {
    int head, query;
  };
  const auto hidden = [&](const Place& at) {
    return KindOf<kTileRows>(call, batch, at.head, at.query, first) == kHiddenTile &&
           (first + kTileRows >= call.keys ||
            KindOf<kTileRows>(call, batch, at.head, at.query, first + kTileRows) == kHiddenTile);
  };
  const int last_head = group * sharing + sharing;
  const auto normalize = [&](Place at) {
    while (at.head < last_head) {
      if (at.query >= end) {
        at = {at.head + 1, first_query};
      } else if (hidden(at)) {
        at.query += kTileRows;
      } else {
        break;
      }
    }
    return at;
  };
  const auto next_of = [&](const Place& at) { return normalize({at.head, at.query + kTileRows}); };
  const Place start = normalize({first_query < end ? group * sharing : last_head, first_query});

  if (threadIdx.x == 0) {
    Ring::Init<M::kStages>(call, barriers);
    BarrierInit(rows_full, 1);
    BarrierInitFence();
  }
  __syncthreads();

  if (warpgroup == 2) {
    LowerRegisters<24>();
    if ((threadIdx.x & 127) != 0) return;
    BarrierExpect(rows_full, 4 * kTileBytes<kD>);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      LoadTile<kD>(base + i * kTileBytes<kD>, &k, first + i * kTileRows, group, batch, rows_full);
      LoadTile<kD>(base + M::kValuesAt + i * kTileBytes<kD>, &v, first + i * kTileRows, group, batch,
                   rows_full);
    }
    Ring ring(call, barriers, 1);
    for (Place at = start; at.head < last_head; at = next_of(at)) {
      ring.WaitEmpty();
      const uint32_t full = ring.full(), to = stages + ring.stage * M::kStageBytes;
      BarrierExpect(full, M::kCopied);
      LoadTile<kD>(to, &q, at.query, at.head, batch, full);
      LoadTile<kD>(to + kTileBytes<kD>, &dy, at.query, at.head, batch, full);
      // The statistics are padded to whole tiles.
      const int64_t from =
          (static_cast<int64_t>(batch) * call.heads + at.head) * call.padded_queries + at.query;
      BulkLoad(to + M::kSumsAt, call.log_sum + from, M::kSumBytes, full);
      BulkLoad(to + M::kSumsAt + M::kSumBytes, call.delta + from, M::kSumBytes, full);
      ring.Next<M::kStages>();
    }
    return;
  }
  RaiseRegisters<240>();
  const int warp = (threadIdx.x >> 5) & 3, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
  const int own = first + warpgroup * kTileRows, row = own + warp * 16 + g;
  const uint32_t keys = base + warpgroup * kTileBytes<kD>, values = keys + M::kValuesAt;
  Ring ring(call, barriers, 0);
  BarrierWait(rows_full, 0);
  float dk[kParts<kD>][32], dv[kParts<kD>][32];
  Clear(dk);
  Clear(dv);
  float scores[32], dp[32];
  uint32_t weights[4][4], score_gradients[4][4];
  [[maybe_unused]] int pending = -1;  // the stage that products in flight still read
  for (Place at = start; at.head < last_head; at = next_of(at)) {
    const int kind =
        own < call.keys ? KindOf<kTileRows>(call, batch, at.head, at.query, own) : int{kHiddenTile};
    ring.WaitFull();
    if (kind == kHiddenTile || (call.causal && own > at.query + kTileRows - 1 + call.offset)) {
      ring.Release(ring.stage);
      ring.Next<M::kStages>();
      continue;
    }
    const uint32_t queries = stages + ring.stage * M::kStageBytes, gradients = queries + kTileBytes<kD>;
    const uint32_t log_sums = queries + M::kSumsAt + 8 * t, deltas = log_sums + M::kSumBytes;
    WgmmaFence();
    MultiplyRows<kHalf, kD>(scores, keys, queries);
    WgmmaCommit();
    MultiplyRows<kHalf, kD>(dp, values, gradients);
    WgmmaCommit();
    WgmmaWait<1>();
    if (M::kOverlaps && pending >= 0) ring.Release(pending);
    const bool masked = NeedsMask(call, kind, at.query, own, kTileRows);
    if (masked) {
      const int query = at.query + 2 * t;
      const int64_t mask_origin = MaskOrigin(call, batch, at.head);
#pragma unroll
      for (int i = 0; i < 32; ++i) scores[i] *= call.log2_scale;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        MaskQueries<8>(call, kind, mask_origin, query, row + half * 8,
                       [&](int n, int c) -> float& { return scores[n * 4 + half * 2 + c]; });
      }
#pragma unroll
      for (int n = 0; n < 8; ++n) {
        const float2 log_sum = LoadPair(log_sums + n * 32);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int c = i & 1;
          scores[n * 4 + i] =
              MaskedProbability(call, scores[n * 4 + i], c == 0 ? log_sum.x : log_sum.y, query + n * 8 + c);
        }
      }
    } else {
#pragma unroll
      for (int n = 0; n < 8; ++n) {
        const float2 log_sum = LoadPair(log_sums + n * 32);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          scores[n * 4 + i] =
              Exp2(fmaf(scores[n * 4 + i], call.log2_scale, (i & 1) == 0 ? -log_sum.x : -log_sum.y));
        }
      }
    }
    PackWeights<kHalf>(weights, scores);
    if constexpr (M::kOverlaps) {
      WgmmaFence();
      AddRows<kHalf, kD>(dv, weights, gradients);
      WgmmaCommit();
      WgmmaWait<1>();
    } else {
      WgmmaWait<0>();
    }
#pragma unroll
    for (int n = 0; n < 8; ++n) {
      const float2 delta = LoadPair(deltas + n * 32);
#pragma unroll
      for (int i = 0; i < 4; ++i) scores[n * 4 + i] *= dp[n * 4 + i] - ((i & 1) == 0 ? delta.x : delta.y);
    }
    PackWeights<kHalf>(score_gradients, scores);
    WgmmaFence();
    if constexpr (!M::kOverlaps) AddRows<kHalf, kD>(dv, weights, gradients);
    AddRows<kHalf, kD>(dk, score_gradients, queries);
    WgmmaCommit();
    if constexpr (M::kOverlaps) {
      pending = ring.stage;
    } else {
      WgmmaWait<0>();
      ring.Release(ring.stage);
    }
    ring.Next<M::kStages>();
  }
  WgmmaWait<0>();
  const float scale[2] = {call.scale, call.scale}, one[2] = {1.0f, 1.0f};
  StoreRows<T, kD>(static_cast<T*>(call.dk) + batch * call.k_strides.batch + group * call.k_strides.head,
                   call.k_strides.position, own, call.keys, call.size, scale, dk);
  StoreRows<T, kD>(static_cast<T*>(call.dv) + batch * call.v_strides.batch + group * call.v_strides.head,
                   call.v_strides.position, own, call.keys, call.value_size, one, dv);
}

template <typename T, int kD>
void Launch(const AttentionArguments& call, cudaStream_t stream) {
  const auto kernel = KeyGradSm90Kernel<T, kD>;
  static const cudaError_t raised =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, Memory<kD>::kBytes);
  Check(raised, "cudaFuncSetAttribute of KeyGradSm90Kernel");
  const HopperTensors maps = TensorsOf<T>(call);
  const dim3 grid(static_cast<unsigned>(call.groups), static_cast<unsigned>(call.batch),
                  static_cast<unsigned>(CeilDiv(call.keys, kKeys)));
  kernel<<<grid, kHopperThreads, Memory<kD>::kBytes, stream>>>(maps.q, maps.k, maps.v, maps.dy, call);
  CheckLaunch("KeyGradSm90Kernel");
}

}  // namespace

template <typename T>
void LaunchKeyGradSm90(const AttentionArguments& call, cudaStream_t stream) {
  max(call.size, call.value_size) <= 64 ? Launch<T, 64>(call, stream) : Launch<T, 128>(call, stream);
}

template void LaunchKeyGradSm90<__half>(const AttentionArguments& call, cudaStream_t stream);
template void LaunchKeyGradSm90<__nv_bfloat16>(const AttentionArguments& call, cudaStream_t stream);

}  // namespace ortqlora::cuda

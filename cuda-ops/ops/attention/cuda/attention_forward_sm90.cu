// The forward pass on wgmma: each of two warpgroups has 64 queries and passes over tiles of 64 keys with
// running maximum and sum (Dao, "FlashAttention-2", 2023); probabilities pass
// from one product to the next in them. With heads of 64 two blocks share a multiprocessor, so that
// exponentials of some warpgroups hide behind the products of others.

#include "common/cuda/check.h"
#include "ops/attention/cuda/attention_sm90.cuh"

namespace ortqlora::cuda {
namespace {

constexpr int kThreads = 256, kQueries = 2 * kTileRows;

template <int kD>
struct Memory {
  static constexpr int kStages = 4, kAhead = kStages - 2;
  static constexpr int kStageBytes = 2 * kTileBytes<kD>;
  static constexpr int kStagesAt = 2 * kTileBytes<kD>;
  static constexpr int kBarriersAt = kStagesAt + kStages * kStageBytes;
  static constexpr int kBytes = kBarriersAt + 16 * kStages + 8 + 1024;
};

template <typename T, int kD>
__global__ __launch_bounds__(kThreads,
                             kD == 64 ? 2 : 1) void ForwardSm90Kernel(const __grid_constant__ CUtensorMap q,
                                                                      const __grid_constant__ CUtensorMap k,
                                                                      const __grid_constant__ CUtensorMap v,
                                                                      const AttentionArguments call) {
  using M = Memory<kD>;
  constexpr bool kHalf = kIsHalf<T>;
  extern __shared__ uint8_t shared[];
  const uint32_t base = (SharedAddress(shared) + 1023) & ~1023u, stages = base + M::kStagesAt;
  const uint32_t barriers = base + M::kBarriersAt, queries_full = barriers + 16 * M::kStages;
  const int warpgroup = threadIdx.x >> 7;
  // The last queries see the most keys, and start first.
  const int first = static_cast<int>(gridDim.x - 1 - blockIdx.x) * kQueries;
  const int head = blockIdx.y, batch = blockIdx.z, group = head / (call.heads / call.groups);
  const int end = KeyEnd(call, min(first + kQueries, call.queries) - 1);
  const auto next_visible = [&](int key) {
    while (key < end && KindOf<kQueries>(call, batch, head, first, key) == kHiddenTile) key += kTileRows;
    return key;
  };

  // Copies, of one thread: the next tile of keys and values, if there is one. (Registers of a warpgroup for
  // that alone would leave too few for two blocks a multiprocessor.)
  Ring copied(call, barriers, 1);
  int next_copied = next_visible(0);
  const auto copy = [&] {
    if (threadIdx.x != 0 || next_copied >= end) return;
    copied.WaitEmpty();
    BarrierExpect(copied.full(), M::kStageBytes);
    const uint32_t to = stages + copied.stage * M::kStageBytes;
    LoadTile<kD>(to, &k, next_copied, group, batch, copied.full());
    LoadTile<kD>(to + kTileBytes<kD>, &v, next_copied, group, batch, copied.full());
    copied.Next<M::kStages>();
    next_copied = next_visible(next_copied + kTileRows);
  };
  if (threadIdx.x == 0) {
    Ring::Init<M::kStages>(call, barriers);
    BarrierInit(queries_full, 1);
    BarrierInitFence();
    BarrierExpect(queries_full, 2 * kTileBytes<kD>);
    LoadTile<kD>(base, &q, first, head, batch, queries_full);
    LoadTile<kD>(base + kTileBytes<kD>, &q, first + kTileRows, head, batch, queries_full);
  }
  for (int i = 0; i < M::kAhead; ++i) copy();
  __syncthreads();

  const int warp = (threadIdx.x >> 5) & 3, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
  const int own = first + warpgroup * kTileRows, row = own + warp * 16 + g;
  // The first and the last tile that a query of this warpgroup may see; others between them are masked score
  // by score.
  const auto hidden = [&](int key) { return KindOf<kTileRows>(call, batch, head, own, key) == kHiddenTile; };
  const int own_end = own < call.queries ? KeyEnd(call, min(own + kTileRows, call.queries) - 1) : 0;
  int own_first = 0, own_last = (own_end - 1) / kTileRows * kTileRows;
  while (own_first < own_end && hidden(own_first)) own_first += kTileRows;
  while (own_last > own_first && hidden(own_last)) own_last -= kTileRows;
  if (own_first >= own_end) own_first = end;
  const int64_t mask_origin = MaskOrigin(call, batch, head);
  Ring ring(call, barriers, 0);
  const uint32_t queries = base + warpgroup * kTileBytes<kD>;
  BarrierWait(queries_full, 0);

  float out[kParts<kD>][32];
  Clear(out);
  float scores[32];
  uint32_t weights[4][4];
  float most[2] = {NegativeInfinity(), NegativeInfinity()}, total[2] = {};
  int key = next_visible(0);
  const auto pass_over = [&] {
    copy();
    ring.WaitFull();
    ring.Release(ring.stage);
    ring.Next<M::kStages>();
    key = next_visible(key + kTileRows);
  };
  while (key < end && key < own_first) pass_over();
  if (key < end && key <= own_last) {
    uint32_t tile = stages + ring.stage * M::kStageBytes;
    ring.WaitFull();
    WgmmaFence();
    MultiplyRows<kHalf, kD>(scores, queries, tile);
    WgmmaCommit();
    copy();
    WgmmaWait<0>();
    int previous = -1;
    while (true) {
      const int found = KindOf<kTileRows>(call, batch, head, own, key);
      const int kind = found == kHiddenTile ? int{kMixedTile} : found;
      float factor = call.log2_scale;
      if (NeedsMask(call, kind, own, key, kTileRows)) {
#pragma unroll
        for (int i = 0; i < 32; ++i) scores[i] *= factor;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          MaskKeys<8>(call, kind, mask_origin, row + half * 8, key + 2 * t,
                      [&](int n, int c) -> float& { return scores[n * 4 + half * 2 + c]; });
        }
        factor = 1.0f;
      }
      float fade[2];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float largest = scores[half * 2];
#pragma unroll
        for (int n = 0; n < 8; ++n)
          largest = fmaxf(largest, fmaxf(scores[n * 4 + half * 2], scores[n * 4 + half * 2 + 1]));
        largest = fmaxf(most[half], QuadMax(largest) * factor);
        // Nothing seen so far: the sums stay 0.
        const float shift = largest == NegativeInfinity() ? 0.0f : largest;
        fade[half] = Exp2(most[half] - shift);
        most[half] = largest;
        float sum = 0.0f;
#pragma unroll
        for (int n = 0; n < 8; ++n) {
#pragma unroll
          for (int c = 0; c < 2; ++c) {
            float& score = scores[n * 4 + half * 2 + c];
            score = Exp2(fmaf(score, factor, -shift));
            sum += score;
          }
        }
        total[half] = fmaf(total[half], fade[half], sum);
      }
      WgmmaWait<0>();
      if (previous >= 0) ring.Release(previous);
      if (__any_sync(0xFFFFFFFFu, fade[0] != 1.0f || fade[1] != 1.0f)) {
#pragma unroll
        for (int part = 0; part < kParts<kD>; ++part) {
#pragma unroll
          for (int i = 0; i < 32; ++i) out[part][i] *= fade[(i >> 1) & 1];
        }
      }
      PackWeights<kHalf>(weights, scores);
      previous = ring.stage;
      ring.Next<M::kStages>();
      key = next_visible(key + kTileRows);
      if (key >= end || key > own_last) break;
      // The scores of the next tile, and the values of this one, whose product the next exponentials hide.
      const uint32_t values = tile + kTileBytes<kD>;
      tile = stages + ring.stage * M::kStageBytes;
      ring.WaitFull();
      WgmmaFence();
      MultiplyRows<kHalf, kD>(scores, queries, tile);
      WgmmaCommit();
      AddRows<kHalf, kD>(out, weights, values);
      WgmmaCommit();
      copy();
      WgmmaWait<1>();
    }
    WgmmaFence();
    AddRows<kHalf, kD>(out, weights, tile + kTileBytes<kD>);
    WgmmaCommit();
    WgmmaWait<0>();
    ring.Release(previous);
  }
  while (key < end) pass_over();

  float inverse[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float sum = QuadSum(total[half]);
    inverse[half] = sum == 0.0f ? 0.0f : 1.0f / sum;
    const int query_of_row = row + half * 8;
    if (t == 0 && query_of_row < call.queries) {
      call.lse_out[(static_cast<int64_t>(batch) * call.heads + head) * call.queries + query_of_row] =
          LogSum(most[half], sum);
    }
  }
  StoreRows<T, kD>(static_cast<T*>(call.y_out) + batch * call.y_strides.batch + head * call.y_strides.head,
                   call.y_strides.position, own, call.queries, call.value_size, inverse, out);
}

template <typename T, int kD>
void Launch(const AttentionArguments& call, cudaStream_t stream) {
  const auto kernel = ForwardSm90Kernel<T, kD>;
  static const cudaError_t raised =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, Memory<kD>::kBytes);
  Check(raised, "cudaFuncSetAttribute of ForwardSm90Kernel");
  const HopperTensors maps = TensorsOf<T>(call);
  const dim3 grid(static_cast<unsigned>(CeilDiv(call.queries, kQueries)), static_cast<unsigned>(call.heads),
                  static_cast<unsigned>(call.batch));
  kernel<<<grid, kThreads, Memory<kD>::kBytes, stream>>>(maps.q, maps.k, maps.v, call);
  CheckLaunch("ForwardSm90Kernel");
}

}  // namespace

template <typename T>
void LaunchAttentionForwardSm90(const AttentionArguments& call, cudaStream_t stream) {
  max(call.size, call.value_size) <= 64 ? Launch<T, 64>(call, stream) : Launch<T, 128>(call, stream);
}

template void LaunchAttentionForwardSm90<__half>(const AttentionArguments& call, cudaStream_t stream);
template void LaunchAttentionForwardSm90<__nv_bfloat16>(const AttentionArguments& call, cudaStream_t stream);

}  // namespace ortqlora::cuda

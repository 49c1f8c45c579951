// dq = scale * ds * k with ds = p * (dy * v^T - delta), on mma.sync: a block has a tile of queries and passes
// over the keys, computing the probabilities anew from log_sum.

#include "common/cuda/check.h"
#include "ops/attention/cuda/attention_tile.cuh"

namespace ortqlora::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kPart = 32;  // keys whose scores are in registers at a time

// kBlocks times 16 queries a warp, kKeys keys a stage.
template <int kD, int kBlocks, int kKeys, int kStages>
struct QueryGrad {
  static constexpr int kQueries = 64 * kBlocks;
  static constexpr int kQueryBytes = kQueries * kD * 2, kKeyBytes = kKeys * kD * 2;
  static constexpr int kSharedBytes = 2 * kQueryBytes + kStages * 2 * kKeyBytes;
};

template <typename T, int kD, int kBlocks, int kKeys, int kStages>
__global__ __launch_bounds__(kThreads) void QueryGradSm80Kernel(const AttentionArguments call) {
  using C = QueryGrad<kD, kBlocks, kKeys, kStages>;
  using Rows = Tile<kD>;
  constexpr bool kHalf = kIsHalf<T>;
  extern __shared__ __align__(128) uint8_t shared[];
  const uint32_t queries = SharedAddress(shared), gradients = queries + C::kQueryBytes;
  const uint32_t stages = gradients + C::kQueryBytes;
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
  const int first = static_cast<int>(gridDim.x - 1 - blockIdx.x) * C::kQueries;
  const int head = blockIdx.y, batch = blockIdx.z, group = head / (call.heads / call.groups);
  const T* const k =
      static_cast<const T*>(call.k) + batch * call.k_strides.batch + group * call.k_strides.head;
  const T* const v =
      static_cast<const T*>(call.v) + batch * call.v_strides.batch + group * call.v_strides.head;
  const int end = KeyEnd(call, min(first + C::kQueries, call.queries) - 1);
  const int64_t mask_origin = MaskOrigin(call, batch, head);

  const auto next_visible = [&](int key) {
    while (key < end && KindOf<C::kQueries>(call, batch, head, first, key) == kHiddenTile) key += kKeys;
    return key;
  };
  const auto load = [&](int key, int stage) {
    const uint32_t to = stages + stage * 2 * C::kKeyBytes;
    Rows::template Load<kKeys, kThreads>(to, k + key * call.k_strides.position, call.k_strides.position,
                                         call.keys - key, call.size, call.wide);
    Rows::template Load<kKeys, kThreads>(to + C::kKeyBytes, v + key * call.v_strides.position,
                                         call.v_strides.position, call.keys - key, call.value_size,
                                         call.wide);
  };

  Rows::template Load<C::kQueries, kThreads>(queries,
                                             static_cast<const T*>(call.q) + batch * call.q_strides.batch +
                                                 head * call.q_strides.head + first * call.q_strides.position,
                                             call.q_strides.position, call.queries - first, call.size,
                                             call.wide);
  Rows::template Load<C::kQueries, kThreads>(gradients,
                                             static_cast<const T*>(call.dy) + batch * call.y_strides.batch +
                                                 head * call.y_strides.head + first * call.y_strides.position,
                                             call.y_strides.position, call.queries - first, call.value_size,
                                             call.wide);
  int key = next_visible(0);
  if (key < end) load(key, 0);
  CopyCommit();

  float log_sum[kBlocks][2], delta[kBlocks][2];
#pragma unroll
  for (int block = 0; block < kBlocks; ++block) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int query = first + (warp * kBlocks + block) * 16 + g + half * 8;
      const bool inside = query < call.padded_queries;
      const int64_t at =
          (static_cast<int64_t>(batch) * call.heads + head) * call.padded_queries + (inside ? query : 0);
      log_sum[block][half] = inside ? call.log_sum[at] : -NegativeInfinity();
      delta[block][half] = inside ? call.delta[at] : 0.0f;
    }
  }

  float dq[kBlocks][kD / 8][4] = {};
  for (int step = 0; key < end; ++step) {
    const int next = next_visible(key + kKeys);
    if constexpr (kStages == 1) {
      __syncthreads();
      if (step > 0) load(key, 0);
      CopyCommit();
    }
    CopyWait<0>();
    __syncthreads();
    if constexpr (kStages == 2) {
      if (next < end) load(next, (step + 1) & 1);
      CopyCommit();
    }
    const uint32_t keys = stages + step % kStages * 2 * C::kKeyBytes, values = keys + C::kKeyBytes;
    const int kind = KindOf<C::kQueries>(call, batch, head, first, key);
    const bool masked = NeedsMask(call, kind, first, key, kKeys);

#pragma unroll
    for (int part = 0; part < kKeys; part += kPart) {
      float scores[kBlocks][kPart / 8][4] = {}, dp[kBlocks][kPart / 8][4] = {};
#pragma unroll
      for (int k16 = 0; k16 < kD / 16; ++k16) {
        uint32_t a[kBlocks][4], da[kBlocks][4];
#pragma unroll
        for (int block = 0; block < kBlocks; ++block) {
          Rows::LoadA(a[block], queries, (warp * kBlocks + block) * 16, k16);
          Rows::LoadA(da[block], gradients, (warp * kBlocks + block) * 16, k16);
        }
#pragma unroll
        for (int n16 = 0; n16 < kPart / 16; ++n16) {
          uint32_t b[4], db[4];
          Rows::LoadB(b, keys, part + n16 * 16, k16);
          Rows::LoadB(db, values, part + n16 * 16, k16);
#pragma unroll
          for (int block = 0; block < kBlocks; ++block) {
            Mma<kHalf>(scores[block][2 * n16], a[block], b[0], b[1]);
            Mma<kHalf>(scores[block][2 * n16 + 1], a[block], b[2], b[3]);
            Mma<kHalf>(dp[block][2 * n16], da[block], db[0], db[1]);
            Mma<kHalf>(dp[block][2 * n16 + 1], da[block], db[2], db[3]);
          }
        }
      }
#pragma unroll
      for (int block = 0; block < kBlocks; ++block) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int query = first + (warp * kBlocks + block) * 16 + g + half * 8;
          if (masked) {
#pragma unroll
            for (int n = 0; n < kPart / 8; ++n) {
              scores[block][n][half * 2] *= call.log2_scale;
              scores[block][n][half * 2 + 1] *= call.log2_scale;
            }
            const auto at = [&](int n, int c) -> float& { return scores[block][n][half * 2 + c]; };
            MaskKeys<kPart / 8>(call, kind, mask_origin, query, key + part + 2 * t, at);
          }
#pragma unroll
          for (int n = 0; n < kPart / 8; ++n) {
#pragma unroll
            for (int i = half * 2; i < half * 2 + 2; ++i) {
              float& score = scores[block][n][i];
              const float p = masked ? MaskedProbability(call, score, log_sum[block][half], query)
                                     : Exp2(fmaf(score, call.log2_scale, -log_sum[block][half]));
              score = p * (dp[block][n][i] - delta[block][half]);
            }
          }
        }
      }
#pragma unroll
      for (int k16 = 0; k16 < kPart / 16; ++k16) {
        uint32_t a[kBlocks][4];
#pragma unroll
        for (int block = 0; block < kBlocks; ++block)
          PackA<T>(a[block], scores[block][2 * k16], scores[block][2 * k16 + 1]);
#pragma unroll
        for (int n16 = 0; n16 < kD / 16; ++n16) {
          uint32_t b[4];
          Rows::LoadBOfRows(b, keys, part + k16 * 16, n16);
#pragma unroll
          for (int block = 0; block < kBlocks; ++block) {
            Mma<kHalf>(dq[block][2 * n16], a[block], b[0], b[1]);
            Mma<kHalf>(dq[block][2 * n16 + 1], a[block], b[2], b[3]);
          }
        }
      }
    }
    key = next;
  }
  CopyWait<0>();

#pragma unroll
  for (int block = 0; block < kBlocks; ++block) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int query = first + (warp * kBlocks + block) * 16 + g + half * 8;
      if (query >= call.queries) continue;
      T* const row = static_cast<T*>(call.dq) + batch * call.q_strides.batch + head * call.q_strides.head +
                     query * call.q_strides.position;
#pragma unroll
      for (int n = 0; n < kD / 8; ++n) {
        StorePair(row, n * 8 + 2 * t, call.size, call.wide, dq[block][n][half * 2] * call.scale,
                  dq[block][n][half * 2 + 1] * call.scale);
      }
    }
  }
}

template <typename T, int kD, int kBlocks, int kKeys, int kStages>
void Launch(const AttentionArguments& call, cudaStream_t stream) {
  using C = QueryGrad<kD, kBlocks, kKeys, kStages>;
  const auto kernel = QueryGradSm80Kernel<T, kD, kBlocks, kKeys, kStages>;
  static const cudaError_t raised =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, C::kSharedBytes);
  Check(raised, "cudaFuncSetAttribute of QueryGradSm80Kernel");
  const dim3 grid(static_cast<unsigned>(CeilDiv(call.queries, C::kQueries)),
                  static_cast<unsigned>(call.heads), static_cast<unsigned>(call.batch));
  kernel<<<grid, kThreads, C::kSharedBytes, stream>>>(call);
  CheckLaunch("QueryGradSm80Kernel");
}

}  // namespace

template <typename T>
void LaunchQueryGradSm80(const AttentionArguments& call, cudaStream_t stream) {
  const int size = max(call.size, call.value_size);
  if (size <= 64) {
    Launch<T, 64, 2, 64, 2>(call, stream);
  } else if (size <= 128) {
    Launch<T, 128, 1, 64, 2>(call, stream);
  } else {
    Launch<T, 256, 1, 32, 1>(call, stream);
  }
}

template void LaunchQueryGradSm80<__half>(const AttentionArguments& call, cudaStream_t stream);
template void LaunchQueryGradSm80<__nv_bfloat16>(const AttentionArguments& call, cudaStream_t stream);

}  // namespace ortqlora::cuda

// The forward pass on mma.sync, a tile of keys at a time with running maximum and sum (Dao,
// "FlashAttention-2", 2023): four warps, each with whole rows of scores, so that probabilities pass from one
// product to the next in registers.

#include "common/cuda/check.h"
#include "ops/attention/cuda/attention_tile.cuh"

namespace ortqlora::cuda {
namespace {

constexpr int kThreads = 128;

// kBlocks times 16 queries a warp, kKeys keys a step. Two stages of keys and values.
template <typename T, int kD, int kBlocks, int kKeys>
struct Forward {
  static constexpr int kQueries = 64 * kBlocks;
  static constexpr int kQueryBytes = kQueries * kD * 2, kKeyBytes = kKeys * kD * 2;
  static constexpr int kSharedBytes = kQueryBytes + 4 * kKeyBytes;
  // Queries stay in registers where there is room.
  static constexpr bool kKeepsQueries = kBlocks * kD <= 128;
};

template <typename T, int kD, int kBlocks, int kKeys>
__global__ __launch_bounds__(kThreads) void ForwardSm80Kernel(const AttentionArguments call) {
  using C = Forward<T, kD, kBlocks, kKeys>;
  using Rows = Tile<kD>;
  constexpr bool kHalf = kIsHalf<T>;
  extern __shared__ __align__(128) uint8_t shared[];
  const uint32_t queries = SharedAddress(shared), stages = queries + C::kQueryBytes;
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
  // The last queries see the most keys, and start first.
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
  CopyCommit();
  int key = next_visible(0);
  if (key < end) load(key, 0);
  CopyCommit();

  uint32_t kept[kBlocks][C::kKeepsQueries ? kD / 16 : 1][4];
  if constexpr (C::kKeepsQueries) {
    CopyWait<1>();
    __syncthreads();
#pragma unroll
    for (int block = 0; block < kBlocks; ++block) {
#pragma unroll
      for (int k16 = 0; k16 < kD / 16; ++k16)
        Rows::LoadA(kept[block][k16], queries, (warp * kBlocks + block) * 16, k16);
    }
  }

  float out[kBlocks][kD / 8][4] = {};
  float most[kBlocks][2], total[kBlocks][2] = {};
#pragma unroll
  for (int block = 0; block < kBlocks; ++block) most[block][0] = most[block][1] = NegativeInfinity();

  for (int step = 0; key < end; ++step) {
    const int next = next_visible(key + kKeys);
    CopyWait<0>();
    __syncthreads();
    if (next < end) load(next, (step + 1) & 1);
    CopyCommit();
    const uint32_t keys = stages + (step & 1) * 2 * C::kKeyBytes, values = keys + C::kKeyBytes;

    float scores[kBlocks][kKeys / 8][4] = {};
#pragma unroll
    for (int k16 = 0; k16 < kD / 16; ++k16) {
      uint32_t a[kBlocks][4];
#pragma unroll
      for (int block = 0; block < kBlocks; ++block) {
        if constexpr (C::kKeepsQueries) {
#pragma unroll
          for (int i = 0; i < 4; ++i) a[block][i] = kept[block][k16][i];
        } else {
          Rows::LoadA(a[block], queries, (warp * kBlocks + block) * 16, k16);
        }
      }
#pragma unroll
      for (int n16 = 0; n16 < kKeys / 16; ++n16) {
        uint32_t b[4];
        Rows::LoadB(b, keys, n16 * 16, k16);
#pragma unroll
        for (int block = 0; block < kBlocks; ++block) {
          Mma<kHalf>(scores[block][2 * n16], a[block], b[0], b[1]);
          Mma<kHalf>(scores[block][2 * n16 + 1], a[block], b[2], b[3]);
        }
      }
    }

    float factor = call.log2_scale;
    const int kind = KindOf<C::kQueries>(call, batch, head, first, key);
    if (NeedsMask(call, kind, first, key, kKeys)) {
#pragma unroll
      for (int block = 0; block < kBlocks; ++block) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
#pragma unroll
          for (int n = 0; n < kKeys / 8; ++n) {
            scores[block][n][half * 2] *= factor;
            scores[block][n][half * 2 + 1] *= factor;
          }
          MaskKeys<kKeys / 8>(call, kind, mask_origin, first + (warp * kBlocks + block) * 16 + g + half * 8,
                              key + 2 * t,
                              [&](int n, int c) -> float& { return scores[block][n][half * 2 + c]; });
        }
      }
      factor = 1.0f;
    }

#pragma unroll
    for (int block = 0; block < kBlocks; ++block) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float largest = scores[block][0][half * 2];
#pragma unroll
        for (int n = 0; n < kKeys / 8; ++n)
          largest = fmaxf(largest, fmaxf(scores[block][n][half * 2], scores[block][n][half * 2 + 1]));
        largest = fmaxf(most[block][half], QuadMax(largest) * factor);
        // Nothing seen so far: the sums stay 0.
        const float shift = largest == NegativeInfinity() ? 0.0f : largest;
        const float fade = Exp2(most[block][half] - shift);
        most[block][half] = largest;
        total[block][half] *= fade;
#pragma unroll
        for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
          for (int i = half * 2; i < half * 2 + 2; ++i) {
            scores[block][n][i] = Exp2(fmaf(scores[block][n][i], factor, -shift));
            total[block][half] += scores[block][n][i];
          }
        }
#pragma unroll
        for (int n = 0; n < kD / 8; ++n) {
          out[block][n][half * 2] *= fade;
          out[block][n][half * 2 + 1] *= fade;
        }
      }
    }

#pragma unroll
    for (int k16 = 0; k16 < kKeys / 16; ++k16) {
      uint32_t a[kBlocks][4];
#pragma unroll
      for (int block = 0; block < kBlocks; ++block)
        PackA<T>(a[block], scores[block][2 * k16], scores[block][2 * k16 + 1]);
#pragma unroll
      for (int n16 = 0; n16 < kD / 16; ++n16) {
        uint32_t b[4];
        Rows::LoadBOfRows(b, values, k16 * 16, n16);
#pragma unroll
        for (int block = 0; block < kBlocks; ++block) {
          Mma<kHalf>(out[block][2 * n16], a[block], b[0], b[1]);
          Mma<kHalf>(out[block][2 * n16 + 1], a[block], b[2], b[3]);
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
      const float sum = QuadSum(total[block][half]), inverse = sum == 0.0f ? 0.0f : 1.0f / sum;
      if (query >= call.queries) continue;
      T* const row = static_cast<T*>(call.y_out) + batch * call.y_strides.batch + head * call.y_strides.head +
                     query * call.y_strides.position;
#pragma unroll
      for (int n = 0; n < kD / 8; ++n) {
        StorePair(row, n * 8 + 2 * t, call.value_size, call.wide, out[block][n][half * 2] * inverse,
                  out[block][n][half * 2 + 1] * inverse);
      }
      if (t == 0) {
        call.lse_out[(static_cast<int64_t>(batch) * call.heads + head) * call.queries + query] =
            LogSum(most[block][half], sum);
      }
    }
  }
}

template <typename T, int kD, int kBlocks, int kKeys>
void Launch(const AttentionArguments& call, cudaStream_t stream) {
  using C = Forward<T, kD, kBlocks, kKeys>;
  const auto kernel = ForwardSm80Kernel<T, kD, kBlocks, kKeys>;
  static const cudaError_t raised =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, C::kSharedBytes);
  Check(raised, "cudaFuncSetAttribute of ForwardSm80Kernel");
  const dim3 grid(static_cast<unsigned>(CeilDiv(call.queries, C::kQueries)),
                  static_cast<unsigned>(call.heads), static_cast<unsigned>(call.batch));
  kernel<<<grid, kThreads, C::kSharedBytes, stream>>>(call);
  CheckLaunch("ForwardSm80Kernel");
}

}  // namespace

template <typename T>
void LaunchAttentionForwardSm80(const AttentionArguments& call, cudaStream_t stream) {
  const int size = max(call.size, call.value_size);
  if (size <= 64) {
    Launch<T, 64, 2, 64>(call, stream);
  } else if (size <= 128) {
    Launch<T, 128, 1, 64>(call, stream);
  } else {
    Launch<T, 256, 1, 32>(call, stream);
  }
}

template void LaunchAttentionForwardSm80<__half>(const AttentionArguments& call, cudaStream_t stream);
template void LaunchAttentionForwardSm80<__nv_bfloat16>(const AttentionArguments& call, cudaStream_t stream);

}  // namespace ortqlora::cuda

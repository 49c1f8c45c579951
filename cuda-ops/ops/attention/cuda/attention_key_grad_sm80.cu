// dv = p^T * dy and dk = scale * ds^T * q on mma.sync: a block has a tile of keys and passes over the queries
// of every head that shares them, so that nothing is added up between blocks. Scores are computed transposed,
// a warp having whole rows of keys, and pass to the second products in registers.

#include "common/cuda/check.h"
#include "ops/attention/cuda/attention_tile.cuh"

namespace ortqlora::cuda {
namespace {

constexpr int kThreads = 128, kKeys = 64;
constexpr int kPart = 32;  // queries whose scores are in registers at a time

// Heads of 256 do not leave room for both gradients in registers.
enum class Result { kBoth, kKeyGrad, kValueGrad };

template <int kD, int kQueries, int kStages, Result kResult>
struct KeyGrad {
  static constexpr bool kNeedsKeyGrad = kResult != Result::kValueGrad;
  static constexpr bool kNeedsValueGrad = kResult != Result::kKeyGrad;
  static constexpr int kKeyBytes = kKeys * kD * 2, kQueryBytes = kQueries * kD * 2;
  static constexpr int kValuesAt = kKeyBytes, kStagesAt = kValuesAt + (kNeedsKeyGrad ? kKeyBytes : 0);
  static constexpr int kSumsAt = 2 * kQueryBytes, kStageBytes = kSumsAt + 2 * kQueries * 4;
  static constexpr int kSharedBytes = kStagesAt + kStages * kStageBytes;
};

// Two neighbouring statistics of queries.
__device__ __forceinline__ float2 LoadPair(uint32_t address) {
  float2 pair;
  asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];" : "=f"(pair.x), "=f"(pair.y) : "r"(address) : "memory");
  return pair;
}

template <typename T, int kD>
__device__ __forceinline__ void StoreGradient(const AttentionArguments& call, void* to,
                                              const HeadStrides& strides, int batch, int group, int first,
                                              int size, float scale, const float (&sums)[kD / 8][4]) {
  const int lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int key = first + g + half * 8;
    if (key >= call.keys) continue;
    T* const row =
        static_cast<T*>(to) + batch * strides.batch + group * strides.head + key * strides.position;
#pragma unroll
    for (int n = 0; n < kD / 8; ++n) {
      StorePair(row, n * 8 + 2 * t, size, call.wide, sums[n][half * 2] * scale,
                sums[n][half * 2 + 1] * scale);
    }
  }
}

template <typename T, int kD, int kQueries, int kStages, Result kResult>
__global__ __launch_bounds__(kThreads) void KeyGradSm80Kernel(const AttentionArguments call) {
  using C = KeyGrad<kD, kQueries, kStages, kResult>;
  using Rows = Tile<kD>;
  constexpr bool kHalf = kIsHalf<T>;
  extern __shared__ __align__(128) uint8_t shared[];
  const uint32_t keys = SharedAddress(shared), values = keys + C::kValuesAt, stages = keys + C::kStagesAt;
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
  const int first = blockIdx.x * kKeys, group = blockIdx.y, batch = blockIdx.z;
  const int sharing = call.heads / call.groups, warp_row = warp * 16;
  // Under the causal rule the first keys are seen by the most queries; they start first anyway.
  const int first_query = call.causal ? max(first - call.offset, 0) / kQueries * kQueries : 0;
  const int tiles = first_query < call.queries ? (call.queries - first_query + kQueries - 1) / kQueries : 0;
  const int steps = sharing * tiles;

  struct Place {
    int head, query;
  };
  const auto place_of = [&](int step) {
    return Place{group * sharing + step / tiles, first_query + step % tiles * kQueries};
  };
  const auto kind_of = [&](const Place& at) {
    return KindOf<kQueries>(call, batch, at.head, at.query, first);
  };
  const auto next_visible = [&](int step) {
    while (step < steps && kind_of(place_of(step)) == kHiddenTile) ++step;
    return step;
  };
  const auto load = [&](int step, int stage) {
    const Place at = place_of(step);
    const uint32_t to = stages + stage * C::kStageBytes;
    Rows::template Load<kQueries, kThreads>(
        to,
        static_cast<const T*>(call.q) + batch * call.q_strides.batch + at.head * call.q_strides.head +
            at.query * call.q_strides.position,
        call.q_strides.position, call.queries - at.query, call.size, call.wide);
    Rows::template Load<kQueries, kThreads>(
        to + C::kQueryBytes,
        static_cast<const T*>(call.dy) + batch * call.y_strides.batch + at.head * call.y_strides.head +
            at.query * call.y_strides.position,
        call.y_strides.position, call.queries - at.query, call.value_size, call.wide);
    // The statistics are padded to whole tiles.
    constexpr int kChunks = kQueries / 4;
    if (threadIdx.x < 2 * kChunks) {
      const float* const from = threadIdx.x < kChunks ? call.log_sum : call.delta;
      const int chunk = threadIdx.x % kChunks;
      CopyAsync(to + C::kSumsAt + threadIdx.x * 16,
                from + (static_cast<int64_t>(batch) * call.heads + at.head) * call.padded_queries + at.query +
                    chunk * 4,
                true);
    }
  };

  Rows::template Load<kKeys, kThreads>(keys,
                                       static_cast<const T*>(call.k) + batch * call.k_strides.batch +
                                           group * call.k_strides.head + first * call.k_strides.position,
                                       call.k_strides.position, call.keys - first, call.size, call.wide);
  if constexpr (C::kNeedsKeyGrad) {
    Rows::template Load<kKeys, kThreads>(values,
                                         static_cast<const T*>(call.v) + batch * call.v_strides.batch +
                                             group * call.v_strides.head + first * call.v_strides.position,
                                         call.v_strides.position, call.keys - first, call.value_size,
                                         call.wide);
  }
  int step = next_visible(0);
  if (step < steps) load(step, 0);
  CopyCommit();

  float dk[C::kNeedsKeyGrad ? kD / 8 : 1][4] = {}, dv[C::kNeedsValueGrad ? kD / 8 : 1][4] = {};
  for (int count = 0; step < steps; ++count) {
    const int next = next_visible(step + 1);
    if constexpr (kStages == 1) {
      __syncthreads();
      if (count > 0) load(step, 0);
      CopyCommit();
    }
    CopyWait<0>();
    __syncthreads();
    if constexpr (kStages == 2) {
      if (next < steps) load(next, (count + 1) & 1);
      CopyCommit();
    }
    const Place at = place_of(step);
    const uint32_t queries = stages + count % kStages * C::kStageBytes, gradients = queries + C::kQueryBytes;
    const uint32_t log_sums = queries + C::kSumsAt, deltas = log_sums + kQueries * 4;
    const int kind = kind_of(at);
    const bool masked = NeedsMask(call, kind, at.query, first, kKeys);
    const int64_t mask_origin = MaskOrigin(call, batch, at.head);

#pragma unroll
    for (int part = 0; part < kQueries; part += kPart) {
      float scores[kPart / 8][4] = {};
#pragma unroll
      for (int k16 = 0; k16 < kD / 16; ++k16) {
        uint32_t a[4];
        Rows::LoadA(a, keys, warp_row, k16);
#pragma unroll
        for (int n16 = 0; n16 < kPart / 16; ++n16) {
          uint32_t b[4];
          Rows::LoadB(b, queries, part + n16 * 16, k16);
          Mma<kHalf>(scores[2 * n16], a, b[0], b[1]);
          Mma<kHalf>(scores[2 * n16 + 1], a, b[2], b[3]);
        }
      }
      const int query = at.query + part + 2 * t;
      if (masked) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
#pragma unroll
          for (int n = 0; n < kPart / 8; ++n) {
            scores[n][half * 2] *= call.log2_scale;
            scores[n][half * 2 + 1] *= call.log2_scale;
          }
          MaskQueries<kPart / 8>(call, kind, mask_origin, query, first + warp_row + g + half * 8,
                                 [&](int n, int c) -> float& { return scores[n][half * 2 + c]; });
        }
      }
#pragma unroll
      for (int n = 0; n < kPart / 8; ++n) {
        const float2 log_sum = LoadPair(log_sums + (part + n * 8 + 2 * t) * 4);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int c = i & 1;
          const float of_query = c == 0 ? log_sum.x : log_sum.y;
          scores[n][i] = masked ? MaskedProbability(call, scores[n][i], of_query, query + n * 8 + c)
                                : Exp2(fmaf(scores[n][i], call.log2_scale, -of_query));
        }
      }
      if constexpr (C::kNeedsValueGrad) {
#pragma unroll
        for (int k16 = 0; k16 < kPart / 16; ++k16) {
          uint32_t a[4];
          PackA<T>(a, scores[2 * k16], scores[2 * k16 + 1]);
#pragma unroll
          for (int n16 = 0; n16 < kD / 16; ++n16) {
            uint32_t b[4];
            Rows::LoadBOfRows(b, gradients, part + k16 * 16, n16);
            Mma<kHalf>(dv[2 * n16], a, b[0], b[1]);
            Mma<kHalf>(dv[2 * n16 + 1], a, b[2], b[3]);
          }
        }
      }
      if constexpr (C::kNeedsKeyGrad) {
        float dp[kPart / 8][4] = {};
#pragma unroll
        for (int k16 = 0; k16 < kD / 16; ++k16) {
          uint32_t a[4];
          Rows::LoadA(a, values, warp_row, k16);
#pragma unroll
          for (int n16 = 0; n16 < kPart / 16; ++n16) {
            uint32_t b[4];
            Rows::LoadB(b, gradients, part + n16 * 16, k16);
            Mma<kHalf>(dp[2 * n16], a, b[0], b[1]);
            Mma<kHalf>(dp[2 * n16 + 1], a, b[2], b[3]);
          }
        }
#pragma unroll
        for (int n = 0; n < kPart / 8; ++n) {
          const float2 delta = LoadPair(deltas + (part + n * 8 + 2 * t) * 4);
#pragma unroll
          for (int i = 0; i < 4; ++i) scores[n][i] *= dp[n][i] - ((i & 1) == 0 ? delta.x : delta.y);
        }
#pragma unroll
        for (int k16 = 0; k16 < kPart / 16; ++k16) {
          uint32_t a[4];
          PackA<T>(a, scores[2 * k16], scores[2 * k16 + 1]);
#pragma unroll
          for (int n16 = 0; n16 < kD / 16; ++n16) {
            uint32_t b[4];
            Rows::LoadBOfRows(b, queries, part + k16 * 16, n16);
            Mma<kHalf>(dk[2 * n16], a, b[0], b[1]);
            Mma<kHalf>(dk[2 * n16 + 1], a, b[2], b[3]);
          }
        }
      }
    }
    step = next;
  }
  CopyWait<0>();

  if constexpr (C::kNeedsKeyGrad) {
    StoreGradient<T, kD>(call, call.dk, call.k_strides, batch, group, first + warp_row, call.size, call.scale,
                         dk);
  }
  if constexpr (C::kNeedsValueGrad) {
    StoreGradient<T, kD>(call, call.dv, call.v_strides, batch, group, first + warp_row, call.value_size, 1.0f,
                         dv);
  }
}

template <typename T, int kD, int kQueries, int kStages, Result kResult>
void Launch(const AttentionArguments& call, cudaStream_t stream) {
  using C = KeyGrad<kD, kQueries, kStages, kResult>;
  const auto kernel = KeyGradSm80Kernel<T, kD, kQueries, kStages, kResult>;
  static const cudaError_t raised =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, C::kSharedBytes);
  Check(raised, "cudaFuncSetAttribute of KeyGradSm80Kernel");
  const dim3 grid(static_cast<unsigned>(CeilDiv(call.keys, kKeys)), static_cast<unsigned>(call.groups),
                  static_cast<unsigned>(call.batch));
  kernel<<<grid, kThreads, C::kSharedBytes, stream>>>(call);
  CheckLaunch("KeyGradSm80Kernel");
}

}  // namespace

template <typename T>
void LaunchKeyGradSm80(const AttentionArguments& call, cudaStream_t stream) {
  const int size = max(call.size, call.value_size);
  if (size <= 64) {
    Launch<T, 64, 64, 2, Result::kBoth>(call, stream);
  } else if (size <= 128) {
    Launch<T, 128, 64, 2, Result::kBoth>(call, stream);
  } else {
    Launch<T, 256, 32, 2, Result::kValueGrad>(call, stream);
    Launch<T, 256, 32, 1, Result::kKeyGrad>(call, stream);
  }
}

template void LaunchKeyGradSm80<__half>(const AttentionArguments& call, cudaStream_t stream);
template void LaunchKeyGradSm80<__nv_bfloat16>(const AttentionArguments& call, cudaStream_t stream);

}  // namespace ortqlora::cuda

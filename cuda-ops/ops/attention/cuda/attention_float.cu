// Attention in fp32 without tensor cores: tiles of queries and keys in shared memory, eight threads a row.
// For runs that want fp32 arithmetic; those that want speed use half precision.

#include <type_traits>

#include "common/cuda/check.h"
#include "ops/attention/cuda/masked_scores.cuh"

namespace ortqlora::cuda {
namespace {

constexpr int kLanes = 8;

// kTile queries and keys of at most kD features.
template <int kD>
struct Plan {
  static constexpr int kTile = kD > 128 ? 16 : 32;
  static constexpr int kThreads = kTile * kLanes;
  static constexpr int kPitch = kD + 1, kScorePitch = kTile + 1;  // rows begin in different banks
  static constexpr int kTileFloats = kTile * kPitch, kScoreFloats = kTile * kScorePitch;
  static constexpr int kKeysOfLane = kTile / kLanes, kFeaturesOfLane = kD / kLanes;
};

// Rows into a tile; rows beyond `rows` and features beyond `size` are zeros.
template <int kD>
__device__ __forceinline__ void Load(float* tile, const float* from, int64_t stride, int rows, int size) {
  using P = Plan<kD>;
  for (int i = threadIdx.x; i < P::kTile * kD; i += P::kThreads) {
    const int row = i / kD, feature = i % kD;
    tile[row * P::kPitch + feature] = row < rows && feature < size ? from[row * stride + feature] : 0.0f;
  }
}

// Products of row `row` of one tile with the rows of another that belong to this thread.
template <int kD>
__device__ __forceinline__ void Dot(const float* rows, int row, const float* others,
                                    float (&out)[Plan<kD>::kKeysOfLane]) {
  using P = Plan<kD>;
  const int lane = threadIdx.x % kLanes;
#pragma unroll
  for (int i = 0; i < P::kKeysOfLane; ++i) out[i] = 0.0f;
#pragma unroll 8
  for (int d = 0; d < kD; ++d) {
    const float value = rows[row * P::kPitch + d];
#pragma unroll
    for (int i = 0; i < P::kKeysOfLane; ++i)
      out[i] = fmaf(value, others[(lane + i * kLanes) * P::kPitch + d], out[i]);
  }
}

// sums += weights[row, :] * rows, for the features of this thread.
template <int kD>
__device__ __forceinline__ void Accumulate(const float* weights, int row, const float* rows,
                                           float (&sums)[Plan<kD>::kFeaturesOfLane]) {
  using P = Plan<kD>;
  const int lane = threadIdx.x % kLanes;
  for (int j = 0; j < P::kTile; ++j) {
    const float weight = weights[row * P::kScorePitch + j];
#pragma unroll
    for (int i = 0; i < P::kFeaturesOfLane; ++i)
      sums[i] = fmaf(weight, rows[j * P::kPitch + lane + i * kLanes], sums[i]);
  }
}

template <int kD>
__device__ __forceinline__ void Store(float* row, int size, float factor,
                                      const float (&sums)[Plan<kD>::kFeaturesOfLane]) {
  const int lane = threadIdx.x % kLanes;
#pragma unroll
  for (int i = 0; i < Plan<kD>::kFeaturesOfLane; ++i) {
    if (lane + i * kLanes < size) row[lane + i * kLanes] = sums[i] * factor;
  }
}

// A scaled score; -infinity beyond the keys and the causal rule.
__device__ __forceinline__ float ScoreOf(const AttentionArguments& call, int64_t origin, float product,
                                         int query, int key) {
  const float score = product * call.log2_scale;
  if (key >= KeyEnd(call, query)) return NegativeInfinity();
  if (call.tiles.kinds == nullptr || query >= call.queries) return score;
  return MaskedScore(call.mask, origin + query * call.mask.query + key * call.mask.key, score);
}

template <typename Combine>
__device__ __forceinline__ float AcrossLanes(float value, Combine combine) {
#pragma unroll
  for (int lanes = kLanes / 2; lanes > 0; lanes >>= 1)
    value = combine(value, __shfl_xor_sync(0xFFFFFFFFu, value, lanes));
  return value;
}

__device__ __forceinline__ const float* Head(const void* data, const HeadStrides& strides, int batch,
                                             int head, int position) {
  return static_cast<const float*>(data) + batch * strides.batch + head * strides.head +
         position * strides.position;
}
__device__ __forceinline__ float* Head(void* data, const HeadStrides& strides, int batch, int head,
                                       int position) {
  return static_cast<float*>(data) + batch * strides.batch + head * strides.head +
         position * strides.position;
}

template <int kD>
__global__ void ForwardFloatKernel(const AttentionArguments call) {
  using P = Plan<kD>;
  extern __shared__ float memory[];
  float* const queries = memory;
  float* const keys = queries + P::kTileFloats;
  float* const values = keys + P::kTileFloats;
  float* const weights = values + P::kTileFloats;
  const int row = threadIdx.x / kLanes, lane = threadIdx.x % kLanes;
  const int first = static_cast<int>(gridDim.x - 1 - blockIdx.x) * P::kTile, query = first + row;
  const int head = blockIdx.y, batch = blockIdx.z, group = head / (call.heads / call.groups);
  const int end = KeyEnd(call, min(first + P::kTile, call.queries) - 1);
  const int64_t mask_origin = MaskOrigin(call, batch, head);
  Load<kD>(queries, Head(call.q, call.q_strides, batch, head, first), call.q_strides.position,
           call.queries - first, call.size);
  float out[P::kFeaturesOfLane] = {};
  float most = NegativeInfinity(), total = 0.0f;
  for (int key = 0; key < end; key += P::kTile) {
    if (KindOf<P::kTile>(call, batch, head, first, key) == kHiddenTile) continue;
    __syncthreads();
    Load<kD>(keys, Head(call.k, call.k_strides, batch, group, key), call.k_strides.position, call.keys - key,
             call.size);
    Load<kD>(values, Head(call.v, call.v_strides, batch, group, key), call.v_strides.position,
             call.keys - key, call.value_size);
    __syncthreads();
    float scores[P::kKeysOfLane];
    Dot<kD>(queries, row, keys, scores);
    float largest = most;
#pragma unroll
    for (int i = 0; i < P::kKeysOfLane; ++i) {
      scores[i] = ScoreOf(call, mask_origin, scores[i], query, key + lane + i * kLanes);
      largest = fmaxf(largest, scores[i]);
    }
    largest = AcrossLanes(largest, [](float a, float b) { return fmaxf(a, b); });
    const float shift = largest == NegativeInfinity() ? 0.0f : largest, fade = exp2f(most - shift);
    most = largest;
    total *= fade;
#pragma unroll
    for (int i = 0; i < P::kFeaturesOfLane; ++i) out[i] *= fade;
#pragma unroll
    for (int i = 0; i < P::kKeysOfLane; ++i) {
      const float p = exp2f(scores[i] - shift);
      total += p;
      weights[row * P::kScorePitch + lane + i * kLanes] = p;
    }
    __syncwarp();  // a row's threads are of one warp
    Accumulate<kD>(weights, row, values, out);
  }
  total = AcrossLanes(total, [](float a, float b) { return a + b; });
  if (query >= call.queries) return;
  Store<kD>(Head(call.y_out, call.y_strides, batch, head, query), call.value_size,
            total == 0.0f ? 0.0f : 1.0f / total, out);
  if (lane == 0)
    call.lse_out[(static_cast<int64_t>(batch) * call.heads + head) * call.queries + query] =
        LogSum(most, total);
}

template <int kD>
__global__ void QueryGradFloatKernel(const AttentionArguments call) {
  using P = Plan<kD>;
  extern __shared__ float memory[];
  float* const queries = memory;
  float* const gradients = queries + P::kTileFloats;
  float* const keys = gradients + P::kTileFloats;
  float* const values = keys + P::kTileFloats;
  float* const weights = values + P::kTileFloats;
  const int row = threadIdx.x / kLanes, lane = threadIdx.x % kLanes;
  const int first = static_cast<int>(gridDim.x - 1 - blockIdx.x) * P::kTile, query = first + row;
  const int head = blockIdx.y, batch = blockIdx.z, group = head / (call.heads / call.groups);
  const int end = KeyEnd(call, min(first + P::kTile, call.queries) - 1);
  const int64_t mask_origin = MaskOrigin(call, batch, head);
  const int64_t statistic = (static_cast<int64_t>(batch) * call.heads + head) * call.padded_queries + query;
  const float log_sum = call.log_sum[statistic], delta = call.delta[statistic];
  Load<kD>(queries, Head(call.q, call.q_strides, batch, head, first), call.q_strides.position,
           call.queries - first, call.size);
  Load<kD>(gradients, Head(call.dy, call.y_strides, batch, head, first), call.y_strides.position,
           call.queries - first, call.value_size);
  float dq[P::kFeaturesOfLane] = {};
  for (int key = 0; key < end; key += P::kTile) {
    if (KindOf<P::kTile>(call, batch, head, first, key) == kHiddenTile) continue;
    __syncthreads();
    Load<kD>(keys, Head(call.k, call.k_strides, batch, group, key), call.k_strides.position, call.keys - key,
             call.size);
    Load<kD>(values, Head(call.v, call.v_strides, batch, group, key), call.v_strides.position,
             call.keys - key, call.value_size);
    __syncthreads();
    float scores[P::kKeysOfLane], dp[P::kKeysOfLane];
    Dot<kD>(queries, row, keys, scores);
    Dot<kD>(gradients, row, values, dp);
#pragma unroll
    for (int i = 0; i < P::kKeysOfLane; ++i) {
      const float score = ScoreOf(call, mask_origin, scores[i], query, key + lane + i * kLanes);
      weights[row * P::kScorePitch + lane + i * kLanes] =
          MaskedProbability(call, score, log_sum, query) * (dp[i] - delta);
    }
    __syncwarp();
    Accumulate<kD>(weights, row, keys, dq);
  }
  if (query < call.queries)
    Store<kD>(Head(call.dq, call.q_strides, batch, head, query), call.size, call.scale, dq);
}

template <int kD>
__global__ void KeyGradFloatKernel(const AttentionArguments call) {
  using P = Plan<kD>;
  extern __shared__ float memory[];
  float* const keys = memory;
  float* const values = keys + P::kTileFloats;
  float* const queries = values + P::kTileFloats;
  float* const gradients = queries + P::kTileFloats;
  float* const weights = gradients + P::kTileFloats;
  float* const slopes = weights + P::kScoreFloats;
  const int row = threadIdx.x / kLanes, lane = threadIdx.x % kLanes;
  const int first = static_cast<int>(blockIdx.x) * P::kTile, key = first + row;
  const int group = blockIdx.y, batch = blockIdx.z, sharing = call.heads / call.groups;
  const int first_query = call.causal ? max(first - call.offset, 0) / P::kTile * P::kTile : 0;
  Load<kD>(keys, Head(call.k, call.k_strides, batch, group, first), call.k_strides.position,
           call.keys - first, call.size);
  Load<kD>(values, Head(call.v, call.v_strides, batch, group, first), call.v_strides.position,
           call.keys - first, call.value_size);
  float dk[P::kFeaturesOfLane] = {}, dv[P::kFeaturesOfLane] = {};
  for (int head = group * sharing; head < (group + 1) * sharing; ++head) {
    const int64_t mask_origin = MaskOrigin(call, batch, head);
    const int64_t statistics = (static_cast<int64_t>(batch) * call.heads + head) * call.padded_queries;
    for (int tile = first_query; tile < call.queries; tile += P::kTile) {
      if (KindOf<P::kTile>(call, batch, head, tile, first) == kHiddenTile) continue;
      __syncthreads();
      Load<kD>(queries, Head(call.q, call.q_strides, batch, head, tile), call.q_strides.position,
               call.queries - tile, call.size);
      Load<kD>(gradients, Head(call.dy, call.y_strides, batch, head, tile), call.y_strides.position,
               call.queries - tile, call.value_size);
      __syncthreads();
      float scores[P::kKeysOfLane], dp[P::kKeysOfLane];
      Dot<kD>(keys, row, queries, scores);
      Dot<kD>(values, row, gradients, dp);
#pragma unroll
      for (int i = 0; i < P::kKeysOfLane; ++i) {
        const int at = lane + i * kLanes, query = tile + at;
        const float score = ScoreOf(call, mask_origin, scores[i], query, key);
        const float p = MaskedProbability(call, score, call.log_sum[statistics + query], query);
        weights[row * P::kScorePitch + at] = p;
        slopes[row * P::kScorePitch + at] = p * (dp[i] - call.delta[statistics + query]);
      }
      __syncwarp();
      Accumulate<kD>(weights, row, gradients, dv);
      Accumulate<kD>(slopes, row, queries, dk);
    }
  }
  if (key >= call.keys) return;
  Store<kD>(Head(call.dk, call.k_strides, batch, group, key), call.size, call.scale, dk);
  Store<kD>(Head(call.dv, call.v_strides, batch, group, key), call.value_size, 1.0f, dv);
}

template <int kD>
void Launch(void (*kernel)(AttentionArguments), const AttentionArguments& call, int tiles, int scores,
            int rows, int heads, cudaStream_t stream) {
  using P = Plan<kD>;
  const int bytes = (tiles * P::kTileFloats + scores * P::kScoreFloats) * static_cast<int>(sizeof(float));
  Check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
        "cudaFuncSetAttribute of an attention kernel");
  const dim3 grid(static_cast<unsigned>(CeilDiv(rows, P::kTile)), static_cast<unsigned>(heads),
                  static_cast<unsigned>(call.batch));
  kernel<<<grid, P::kThreads, bytes, stream>>>(call);
  CheckLaunch("an attention kernel in fp32");
}

// Calls launch with the features that heads are padded to.
template <typename Function>
void WithSize(const AttentionArguments& call, const Function& launch) {
  const int size = max(call.size, call.value_size);
  if (size <= 64) return launch(std::integral_constant<int, 64>());
  if (size <= 128) return launch(std::integral_constant<int, 128>());
  launch(std::integral_constant<int, 256>());
}

}  // namespace

void LaunchAttentionForwardFloat(const AttentionArguments& call, cudaStream_t stream) {
  WithSize(call, [&](auto size) {
    Launch<size>(ForwardFloatKernel<size>, call, 3, 1, call.queries, call.heads, stream);
  });
}

void LaunchQueryGradFloat(const AttentionArguments& call, cudaStream_t stream) {
  WithSize(call, [&](auto size) {
    Launch<size>(QueryGradFloatKernel<size>, call, 4, 1, call.queries, call.heads, stream);
  });
}

void LaunchKeyGradFloat(const AttentionArguments& call, cudaStream_t stream) {
  WithSize(call, [&](auto size) {
    Launch<size>(KeyGradFloatKernel<size>, call, 4, 2, call.keys, call.groups, stream);
  });
}

}  // namespace ortqlora::cuda

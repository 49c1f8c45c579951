#pragma once

// The mask and the causal rule on single scores, in units of log 2.

#include <cfloat>
#include <climits>
#include <cstdint>

#include "ops/attention/cuda/attention_kernels.h"

namespace ortqlora::cuda {

constexpr float kLog2E = 1.4426950408889634f, kLn2 = 0.6931471805599453f;

// Numbers at or below this hide a score, unless every key of the query carries one: exporters mask with the
// lowest float32 or with -infinity.
constexpr float kMaskedScore = -1e30f;
// What stands for such a number in units of log 2, where the lowest would overflow.
constexpr float kHiddenScore = -2e30f;
// log_sum of a query whose keys all carry such a number: they weigh the same.
constexpr float kUniform = -FLT_MAX;

__device__ __forceinline__ float NegativeInfinity() { return __int_as_float(static_cast<int>(0xFF800000u)); }

__device__ __forceinline__ float Exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// One past the last key that a query may see, under the causal rule or without.
__device__ __forceinline__ int KeyEnd(const AttentionArguments& call, int query, bool causal) {
  return causal ? min(max(query + 1 + call.offset, 0), call.keys) : call.keys;
}
__device__ __forceinline__ int KeyEnd(const AttentionArguments& call, int query) {
  return KeyEnd(call, query, call.causal);
}

// Where the mask of a head begins.
__device__ __forceinline__ int64_t MaskOrigin(const AttentionArguments& call, int batch, int head) {
  return batch * call.mask.batch + head * call.mask.head;
}

// A scaled score under the mask's element `at`.
__device__ __forceinline__ float MaskedScore(const AttentionMask& mask, int64_t at, float score) {
  if (mask.added != nullptr) {
    const float added = __ldg(mask.added + at);
    if (added > kMaskedScore) return fmaf(added, kLog2E, score);
    return added == NegativeInfinity() ? added : kHiddenScore;
  }
  return __ldg(mask.visible + at) == 0 ? NegativeInfinity() : score;
}

// A query's scaled scores of keys key, key + 1, key + 8, key + 9, ..., as the fragments of a thread hold
// them: at(n, c) is that of key + 8 n + c. -infinity beyond the keys and the causal rule.
template <int kCount, typename At>
__device__ __forceinline__ void MaskKeys(const AttentionArguments& call, int kind, int64_t origin, int query,
                                         int key, const At& at) {
  const int end = KeyEnd(call, query, call.causal || kind == kCausalTile) - key;
  if (kind == kMixedTile && query < call.queries) {
    const int64_t first = origin + query * call.mask.query + key * call.mask.key;
#pragma unroll
    for (int n = 0; n < kCount; ++n) {
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        const int i = n * 8 + c;
        if (i < end) at(n, c) = MaskedScore(call.mask, first + i * call.mask.key, at(n, c));
      }
    }
  }
#pragma unroll
  for (int n = 0; n < kCount; ++n) {
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      if (n * 8 + c >= end) at(n, c) = NegativeInfinity();
    }
  }
}

// The same for a key's scores of queries query, query + 1, query + 8, query + 9, ...
template <int kCount, typename At>
__device__ __forceinline__ void MaskQueries(const AttentionArguments& call, int kind, int64_t origin,
                                            int query, int key, const At& at) {
  // Queries before `first` of this thread's do not see the key.
  const bool causal = call.causal || kind == kCausalTile;
  const int first = key >= call.keys ? INT_MAX : causal ? key - call.offset - query : 0;
  if (kind == kMixedTile && key < call.keys) {
    const int64_t origin_of_query = origin + query * call.mask.query + key * call.mask.key;
#pragma unroll
    for (int n = 0; n < kCount; ++n) {
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        const int i = n * 8 + c;
        if (i >= first && query + i < call.queries)
          at(n, c) = MaskedScore(call.mask, origin_of_query + i * call.mask.query, at(n, c));
      }
    }
  }
#pragma unroll
  for (int n = 0; n < kCount; ++n) {
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      if (n * 8 + c < first) at(n, c) = NegativeInfinity();
    }
  }
}

// lse of a query from the largest of its scores and the sum of exp2 of their distances to it.
__device__ __forceinline__ float LogSum(float most, float sum) {
  if (most > kMaskedScore) return (most + log2f(sum)) * kLn2;
  return sum == 0.0f ? NegativeInfinity() : kUniform;
}

// The probability of a key from its masked score.
__device__ __forceinline__ float MaskedProbability(const AttentionArguments& call, float score, float log_sum,
                                                   int query) {
  if (log_sum != kUniform) return Exp2(score - log_sum);
  return score == NegativeInfinity() ? 0.0f : 1.0f / static_cast<float>(KeyEnd(call, query));
}

// What the mask does to kQueries queries from `query` on, over the tile of keys that holds `key`.
template <int kQueries>
__device__ __forceinline__ int KindOf(const AttentionArguments& call, int batch, int head, int query,
                                      int key) {
  if (call.tiles.kinds == nullptr) return kOpenTile;
  const uint8_t* at = call.tiles.kinds + batch * call.tiles.batch + head * call.tiles.head +
                      static_cast<int64_t>(query / kMaskTile) * call.tiles.row + key / kMaskTile;
  const int kind = __ldg(at);
  if constexpr (kQueries <= kMaskTile) {
    return kind;
  } else {
    static_assert(kQueries == 2 * kMaskTile);
    if (query + kMaskTile >= call.queries) return kind;
    return kind == __ldg(at + call.tiles.row) ? kind : int{kMixedTile};
  }
}

// Whether scores of a tile have to be looked at one by one.
__device__ __forceinline__ bool NeedsMask(const AttentionArguments& call, int kind, int query, int key,
                                          int keys) {
  return kind == kMixedTile || kind == kCausalTile || key + keys > call.keys ||
         (call.causal && key + keys - 1 > query + call.offset) || call.log2_scale <= 0.0f;
}

}  // namespace ortqlora::cuda

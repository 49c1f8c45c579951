#include "common/cuda/check.h"
#include "ops/attention/cuda/masked_scores.cuh"

namespace ortqlora::cuda {
namespace {

constexpr int kThreads = 1024, kWarps = kThreads / 32, kRows = kMaskTile / kWarps;

// A score with less than kHardlySeen added vanishes beside one with more than kSeen: their difference in exp
// would need scores of five digits. Exporters mask with the lowest float16 too.
constexpr float kHardlySeen = -6e4f, kSeen = -1e3f;

// What a tile holds, as bits.
constexpr int kNotZero = 1, kNotHidden = 2, kNotInfinite = 4, kNotCausal = 8, kFiniteAhead = 16;

// What the mask's element `at` adds to a score.
__device__ __forceinline__ float AddedAt(const AttentionMask& mask, int64_t at) {
  return mask.added != nullptr ? mask.added[at] : mask.visible[at] != 0 ? 0.0f : NegativeInfinity();
}

// Writes the kinds of a row of tiles; `all_see` says whether every query of the tiles sees some key.
template <int kBlock>
__device__ __forceinline__ void WriteKinds(const int* found, int tiles, bool all_see, uint8_t* out) {
  for (int tile = threadIdx.x; tile < tiles; tile += kBlock) {
    const int bits = found[tile];
    const bool hidden = (bits & kNotHidden) == 0 && (all_see || (bits & kNotInfinite) == 0);
    const bool causal = (bits & kNotCausal) == 0 && (all_see || (bits & kFiniteAhead) == 0);
    out[tile] = hidden ? kHiddenTile : (bits & kNotZero) == 0 ? kOpenTile : causal ? kCausalTile : kMixedTile;
  }
}

// A block a tile of queries, a warp two of them: first what each tile of keys holds and whether every query
// sees some key, then the kinds.
__global__ __launch_bounds__(kThreads) void MaskTilesKernel(const AttentionArguments call, uint8_t* kinds,
                                                            int tiles, int mask_heads) {
  extern __shared__ int found[];
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
  const int first = blockIdx.x * kMaskTile, head = blockIdx.y % mask_heads, batch = blockIdx.y / mask_heads;
  for (int tile = threadIdx.x; tile < tiles; tile += kThreads) found[tile] = 0;
  __syncthreads();
  const int64_t origin = MaskOrigin(call, batch, head);
  unsigned sees = 0;  // a bit a row
#pragma unroll 4
  for (int tile = 0; tile < tiles; ++tile) {
    int bits = 0;
#pragma unroll
    for (int row = 0; row < kRows; ++row) {
      const int query = first + warp * kRows + row;
      if (query >= call.queries) break;
#pragma unroll
      for (int part = 0; part < kMaskTile / 32; ++part) {
        const int key = tile * kMaskTile + part * 32 + lane;
        if (key >= call.keys) continue;
        const int64_t at = origin + query * call.mask.query + key * call.mask.key;
        const float added = AddedAt(call.mask, at);
        if (added != 0.0f) bits |= kNotZero;
        if (!(added <= kHardlySeen)) bits |= kNotHidden;
        if (added != NegativeInfinity()) bits |= kNotInfinite;
        const bool ahead = key > query + call.offset;
        if (ahead ? !(added <= kHardlySeen) : added != 0.0f) bits |= kNotCausal;
        if (ahead && added != NegativeInfinity()) bits |= kFiniteAhead;
        if (added > kSeen && key < KeyEnd(call, query)) sees |= 1u << row;
      }
    }
    bits = __reduce_or_sync(0xFFFFFFFFu, bits);
    if (lane == 0) atomicOr(&found[tile], bits);
  }
  sees = __reduce_or_sync(0xFFFFFFFFu, sees);
  const int rows = min(max(call.queries - first - warp * kRows, 0), kRows);
  const int all_see = __syncthreads_and(sees == (1u << rows) - 1u);
  uint8_t* const out = kinds + (static_cast<int64_t>(blockIdx.y) * gridDim.x + blockIdx.x) * tiles;
  WriteKinds<kThreads>(found, tiles, all_see != 0, out);
}

// The same for a mask that does not depend on the query, such as padding: a warp takes whole tiles of keys
// and reads each key once.
constexpr int kKeyThreads = 512, kKeyWarps = kKeyThreads / 32;

__global__ __launch_bounds__(kKeyThreads) void KeyMaskTilesKernel(const AttentionArguments call,
                                                                  uint8_t* kinds, int tiles, int mask_heads) {
  extern __shared__ int found[];
  __shared__ int first_seen;
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
  const int first = blockIdx.x * kMaskTile, last = min(first + kMaskTile, call.queries) - 1;
  const int head = blockIdx.y % mask_heads, batch = blockIdx.y / mask_heads;
  if (threadIdx.x == 0) first_seen = call.keys;
  __syncthreads();
  const int64_t origin = MaskOrigin(call, batch, head);
  int seen = call.keys;
  for (int tile = warp; tile < tiles; tile += kKeyWarps) {
    int bits = 0;
#pragma unroll
    for (int part = 0; part < kMaskTile / 32; ++part) {
      const int key = tile * kMaskTile + part * 32 + lane;
      if (key >= call.keys) continue;
      const float added = AddedAt(call.mask, origin + key * call.mask.key);
      if (added != 0.0f) bits |= kNotZero;
      if (!(added <= kHardlySeen)) bits |= kNotHidden;
      if (added != NegativeInfinity()) bits |= kNotInfinite;
      if (key > first + call.offset) {  // ahead of some query
        if (!(added <= kHardlySeen)) bits |= kNotCausal;
        if (added != NegativeInfinity()) bits |= kFiniteAhead;
      }
      if (key <= last + call.offset && added != 0.0f) bits |= kNotCausal;
      if (added > kSeen) seen = min(seen, key);
    }
    bits = __reduce_or_sync(0xFFFFFFFFu, bits);
    if (lane == 0) found[tile] = bits;
  }
  seen = __reduce_min_sync(0xFFFFFFFFu, seen);
  if (lane == 0) atomicMin(&first_seen, seen);
  __syncthreads();
  // The first query sees the fewest keys.
  WriteKinds<kKeyThreads>(found, tiles, first_seen < KeyEnd(call, first),
                          kinds + (static_cast<int64_t>(blockIdx.y) * gridDim.x + blockIdx.x) * tiles);
}

}  // namespace

void LaunchMaskTiles(const AttentionArguments& call, int mask_batches, int mask_heads, uint8_t* kinds,
                     cudaStream_t stream) {
  const int tiles = static_cast<int>(CeilDiv(call.keys, kMaskTile));
  const dim3 grid(static_cast<unsigned>(CeilDiv(call.queries, kMaskTile)),
                  static_cast<unsigned>(mask_batches * mask_heads));
  if (call.mask.query == 0) {
    KeyMaskTilesKernel<<<grid, kKeyThreads, tiles * sizeof(int), stream>>>(call, kinds, tiles, mask_heads);
    return CheckLaunch("KeyMaskTilesKernel");
  }
  MaskTilesKernel<<<grid, kThreads, tiles * sizeof(int), stream>>>(call, kinds, tiles, mask_heads);
  CheckLaunch("MaskTilesKernel");
}

}  // namespace ortqlora::cuda

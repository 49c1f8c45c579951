#pragma once

// Tiles of rows in shared memory, their fragments for mma.sync, and what the mask says of them.

#include <type_traits>

#include "common/cuda/sm80.cuh"
#include "ops/attention/cuda/masked_scores.cuh"

namespace ortqlora::cuda {

template <typename T>
constexpr bool kIsHalf = std::is_same_v<T, __half>;

// Rows of kD 16-bit elements. The 16-byte chunks of each 128 bytes are permuted by the row, so that the eight
// rows of a fragment lie in different banks.
template <int kD>
struct Tile {
  static constexpr int kRowBytes = kD * 2;

  static __device__ __forceinline__ uint32_t At(uint32_t tile, int row, int chunk) {
    return tile + row * kRowBytes + ((chunk ^ (row & 7)) << 4);
  }

  // Rows from memory; rows beyond `rows` and features beyond `size` are zeros.
  template <int kRows, int kThreads, typename T>
  static __device__ __forceinline__ void Load(uint32_t tile, const T* from, int64_t stride, int rows,
                                              int size, bool wide) {
    constexpr int kChunks = kD / 8;
    if (wide) {
#pragma unroll
      for (int i = threadIdx.x; i < kRows * kChunks; i += kThreads) {
        const int row = i / kChunks, chunk = i % kChunks;
        const bool inside = row < rows && chunk * 8 < size;
        CopyAsync(At(tile, row, chunk), from + (inside ? row * stride + chunk * 8 : 0), inside);
      }
      return;
    }
    for (int i = threadIdx.x; i < kRows * kChunks; i += kThreads) {
      const int row = i / kChunks, chunk = i % kChunks;
      uint16_t values[8];
#pragma unroll
      for (int e = 0; e < 8; ++e) {
        const bool inside = row < rows && chunk * 8 + e < size;
        values[e] =
            inside ? reinterpret_cast<const uint16_t*>(from)[row * stride + chunk * 8 + e] : uint16_t{0};
      }
      const auto word = [&](int e) { return values[e] | static_cast<uint32_t>(values[e + 1]) << 16; };
      asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(At(tile, row, chunk)), "r"(word(0)),
                   "r"(word(2)), "r"(word(4)), "r"(word(6))
                   : "memory");
    }
  }

  // Operand A: rows [row, row + 16), features [16 * k16, + 16).
  static __device__ __forceinline__ void LoadA(uint32_t (&a)[4], uint32_t tile, int row, int k16) {
    const int lane = threadIdx.x & 31;
    LoadMatrices(a, At(tile, row + (lane & 15), 2 * k16 + (lane >> 4)));
  }
  // Two operands B of the tile's transpose: columns are rows [row, row + 16), the reduction runs over
  // features.
  static __device__ __forceinline__ void LoadB(uint32_t (&b)[4], uint32_t tile, int row, int k16) {
    const int lane = threadIdx.x & 31;
    LoadMatrices(b, At(tile, row + (lane & 7) + ((lane >> 4) << 3), 2 * k16 + ((lane >> 3) & 1)));
  }
  // Two operands B of the tile itself: the reduction runs over rows [row, row + 16), columns are features
  // [16 * n16, + 16).
  static __device__ __forceinline__ void LoadBOfRows(uint32_t (&b)[4], uint32_t tile, int row, int n16) {
    const int lane = threadIdx.x & 31;
    LoadMatricesTransposed(b, At(tile, row + (lane & 15), 2 * n16 + (lane >> 4)));
  }
};

// Sums of two neighbouring fragments, rounded, as operand A of the next product.
template <typename T>
__device__ __forceinline__ void PackA(uint32_t (&a)[4], const float (&left)[4], const float (&right)[4]) {
  a[0] = Pack2<kIsHalf<T>>(left[0], left[1]);
  a[1] = Pack2<kIsHalf<T>>(left[2], left[3]);
  a[2] = Pack2<kIsHalf<T>>(right[0], right[1]);
  a[3] = Pack2<kIsHalf<T>>(right[2], right[3]);
}

// Two neighbouring features of a row of a result.
template <typename T>
__device__ __forceinline__ void StorePair(T* row, int feature, int size, bool wide, float first,
                                          float second) {
  constexpr bool kHalf = kIsHalf<T>;
  const uint32_t pair = Pack2<kHalf>(first, second);
  if (wide) {
    if (feature < size) *reinterpret_cast<uint32_t*>(row + feature) = pair;
    return;
  }
  auto* const to = reinterpret_cast<uint16_t*>(row);
  if (feature < size) to[feature] = static_cast<uint16_t>(pair);
  if (feature + 1 < size) to[feature + 1] = static_cast<uint16_t>(pair >> 16);
}

// Sum and maximum over the four lanes that share a row of a fragment.
__device__ __forceinline__ float QuadSum(float value) {
  value += __shfl_xor_sync(0xFFFFFFFFu, value, 1);
  return value + __shfl_xor_sync(0xFFFFFFFFu, value, 2);
}
__device__ __forceinline__ float QuadMax(float value) {
  value = fmaxf(value, __shfl_xor_sync(0xFFFFFFFFu, value, 1));
  return fmaxf(value, __shfl_xor_sync(0xFFFFFFFFu, value, 2));
}

}  // namespace ortqlora::cuda

#pragma once

#include "common/cuda/numbers.cuh"
#include "common/cuda/sm80.cuh"
#include "ops/matmul_int8/cuda/gemm_kernels.h"

namespace ortqlora::cuda {

// The two neighbouring output features r and r + 1 that a thread holds of each token.
struct RowPair {
  int row;
  float scale[2], bias[2];

  __device__ __forceinline__ RowPair(const GemmArguments& call, int first) : row(first) {
    const float unit = call.power == nullptr ? call.unit : call.unit * *call.power;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const bool inside = row + i < call.rows;
      scale[i] = unit * (call.row_scale != nullptr && inside ? call.row_scale[row + i] : 1.0f);
      bias[i] = call.bias != nullptr && inside ? call.bias[row + i] : 0.0f;
    }
  }

  // Scales sums[token] and sums[token + 2] of the thread's fragment in place; Finish then only adds the bias.
  template <int kSums>
  __device__ __forceinline__ void Apply(float (&sums)[kSums]) {
#pragma unroll
    for (int i = 0; i < kSums; ++i) sums[i] *= scale[(i >> 1) & 1];
    scale[0] = scale[1] = 1.0f;
  }

  __device__ __forceinline__ float2 Finish(float first, float second) const {
    return {fmaf(first, scale[0], bias[0]), fmaf(second, scale[1], bias[1])};
  }

  // Both results as one word of the activations' type.
  template <bool kHalf>
  __device__ __forceinline__ uint32_t Packed(float first, float second) const {
    const float2 result = Finish(first, second);
    return Pack2<kHalf>(result.x, result.y);
  }
  // The same with a word of the addend.
  template <bool kHalf>
  __device__ __forceinline__ uint32_t PackedOnto(uint32_t addend, float first, float second) const {
    const float2 result = Finish(first, second), added = Unpacked<kHalf>(addend);
    return Pack2<kHalf>(result.x + added.x, result.y + added.y);
  }

  // Any row count and pitch, any type of result.
  template <bool kHalf>
  __device__ __forceinline__ void Store(const GemmArguments& call, int token, float first,
                                        float second) const {
    if (token >= call.m || row >= call.rows) return;
    const int64_t at = static_cast<int64_t>(token) * call.rows + row;
    const bool both = row + 1 < call.rows, aligned = (call.rows & 1) == 0;
    float2 result = Finish(first, second);
    if (call.addend != nullptr) {
      const float2 added = call.float_out ? FloatAddend(call, at, both) : HalfAddend<kHalf>(call, at, both);
      result.x += added.x;
      result.y += added.y;
    }
    if (call.float_out) {
      float* out = static_cast<float*>(call.out) + at;
      if (both && aligned) {
        *reinterpret_cast<float2*>(out) = result;
      } else {
        out[0] = result.x;
        if (both) out[1] = result.y;
      }
      return;
    }
    const uint32_t packed = Pack2<kHalf>(result.x, result.y);
    auto* out = static_cast<uint16_t*>(call.out) + at;
    if (both && aligned) {
      *reinterpret_cast<uint32_t*>(out) = packed;
    } else {
      out[0] = static_cast<uint16_t>(packed);
      if (both) out[1] = static_cast<uint16_t>(packed >> 16);
    }
  }

 private:
  template <bool kHalf>
  static __device__ __forceinline__ float2 Unpacked(uint32_t word) {
    if constexpr (kHalf) {
      return __half22float2(reinterpret_cast<const __half2&>(word));
    } else {
      return __bfloat1622float2(reinterpret_cast<const __nv_bfloat162&>(word));
    }
  }

  static __device__ __forceinline__ float2 FloatAddend(const GemmArguments& call, int64_t at, bool both) {
    const float* const from = static_cast<const float*>(call.addend) + at;
    return {from[0], both ? from[1] : 0.0f};
  }

  template <bool kHalf>
  static __device__ __forceinline__ float2 HalfAddend(const GemmArguments& call, int64_t at, bool both) {
    const uint16_t* const from = static_cast<const uint16_t*>(call.addend) + at;
    // Even columns of rows of even length are whole words.
    if ((call.rows & 1) == 0 && (reinterpret_cast<uintptr_t>(call.addend) & 3) == 0) {
      return Unpacked<kHalf>(*reinterpret_cast<const uint32_t*>(from));
    }
    return Unpacked<kHalf>(from[0] | (both ? static_cast<uint32_t>(from[1]) << 16 : 0u));
  }
};

}  // namespace ortqlora::cuda

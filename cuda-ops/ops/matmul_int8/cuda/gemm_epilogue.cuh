#pragma once

#include "common/cuda/numbers.cuh"
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
    if constexpr (kHalf) {
      const __half2 packed = __floats2half2_rn(result.x, result.y);
      return reinterpret_cast<const uint32_t&>(packed);
    } else {
      const __nv_bfloat162 packed = __floats2bfloat162_rn(result.x, result.y);
      return reinterpret_cast<const uint32_t&>(packed);
    }
  }

  // Any row count and pitch, any type of result.
  template <bool kHalf>
  __device__ __forceinline__ void Store(const GemmArguments& call, int token, float first,
                                        float second) const {
    if (token >= call.m || row >= call.rows) return;
    const int64_t at = static_cast<int64_t>(token) * call.rows + row;
    const bool both = row + 1 < call.rows, aligned = (call.rows & 1) == 0;
    if (call.float_out) {
      const float2 result = Finish(first, second);
      float* out = static_cast<float*>(call.out) + at;
      if (both && aligned) {
        *reinterpret_cast<float2*>(out) = result;
      } else {
        out[0] = result.x;
        if (both) out[1] = result.y;
      }
      return;
    }
    const uint32_t packed = Packed<kHalf>(first, second);
    auto* out = static_cast<uint16_t*>(call.out) + at;
    if (both && aligned) {
      *reinterpret_cast<uint32_t*>(out) = packed;
    } else {
      out[0] = static_cast<uint16_t>(packed);
      if (both) out[1] = static_cast<uint16_t>(packed >> 16);
    }
  }
};

}  // namespace ortqlora::cuda

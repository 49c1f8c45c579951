#include <algorithm>

#include "common/cuda/check.h"
#include "common/cuda/numbers.cuh"
#include "ops/matmul_int8/cuda/device_weight.h"

namespace ortqlora::cuda {
namespace {

constexpr int kThreads = 256;

struct PlainBytes {
  const int8_t* q;
  int64_t n;
  __device__ uint32_t operator()(int64_t row, int64_t column) const {
    return static_cast<uint8_t>(q[row * n + column]) ^ 0x80u;
  }
};

struct EetqBytes {
  const uint8_t* bytes;
  int64_t padded_k;
  __device__ uint32_t operator()(int64_t row, int64_t column) const {
    return bytes[(column >> 1) * 2 * padded_k + (row >> 6) * 128 + (column & 1) * 64 + (row & 48) +
                 2 * (row & 7) + ((row >> 3) & 1)];
  }
};

// One thread a word of four weights.
template <typename Bytes>
__global__ void PackWeightKernel(const Bytes source, uint32_t* words, int64_t k, int64_t n, int64_t blocks_k,
                                 int64_t count) {
  const int64_t i = blockIdx.x * static_cast<int64_t>(blockDim.x) + threadIdx.x;
  if (i >= count) return;
  const int64_t block_k = (i >> 10) % blocks_k, block_n = (i >> 10) / blocks_k;
  const Tile64Word at = Tile64Position(static_cast<int>(i & 1023));
  uint32_t word = 0;
  for (int b = 0; b < 4; ++b) {
    const int64_t column = block_n * 64 + at.n + (b >> 1), row = block_k * 64 + at.k + (b & 1);
    const uint32_t byte = column < n && row < k ? source(row, column) : PackedWeight::kZero;
    word |= byte << (8 * b);
  }
  words[i] = word;
}

template <typename T>
__global__ void PrepareScaleKernel(const T* scale, int64_t n, int64_t padded_n, float* out) {
  float most = 0;
  for (int64_t i = threadIdx.x; i < n; i += kThreads) most = fmaxf(most, fabsf(ToFloat(scale[i])));
  most = BlockMax<kThreads>(most);
  int exponent = 0;
  if (most > 0 && isfinite(most)) exponent = max(-126, min(126, ilogbf(most)));
  auto* bf16 = reinterpret_cast<__nv_bfloat16*>(out + padded_n);
  auto* half = reinterpret_cast<__half*>(bf16 + padded_n);
  for (int64_t i = threadIdx.x; i < padded_n; i += kThreads) {
    const float value = i < n ? ToFloat(scale[i]) : 0.0f;
    const float normal = ldexpf(value, -exponent);
    out[i] = value;
    bf16[i] = __float2bfloat16_rn(ldexpf(normal, 120));
    half[i] = __float2half_rn(normal);
  }
  if (threadIdx.x < 2) {
    reinterpret_cast<float*>(half + padded_n)[threadIdx.x] =
        ldexpf(1.0f, threadIdx.x == 0 ? exponent : -exponent);
  }
}

unsigned Blocks(int64_t count) { return static_cast<unsigned>(CeilDiv(count, kThreads)); }

}  // namespace

int64_t BlockBytes(int64_t k, int64_t n) { return WeightSource{nullptr, WeightLayout::kTile64, k, n}.size(); }

void LaunchPackWeight(const WeightSource& source, uint8_t* blocks, cudaStream_t stream) {
  const int64_t words = BlockBytes(source.k, source.n) / 4, blocks_k = RoundUp(source.k, kTile64Pad) / 64;
  if (words == 0) return;
  auto* out = reinterpret_cast<uint32_t*>(blocks);
  if (source.layout == WeightLayout::kPlain) {
    PackWeightKernel<<<Blocks(words), kThreads, 0, stream>>>(
        PlainBytes{static_cast<const int8_t*>(source.data), source.n}, out, source.k, source.n, blocks_k,
        words);
  } else {
    PackWeightKernel<<<Blocks(words), kThreads, 0, stream>>>(
        EetqBytes{static_cast<const uint8_t*>(source.data), RoundUp(source.k, 64)}, out, source.k, source.n,
        blocks_k, words);
  }
  CheckLaunch("PackWeightKernel");
}

void LaunchPrepareScale(const void* scale, Element type, int64_t n, int64_t padded_n, void* memory,
                        cudaStream_t stream) {
  WithElement(type, scale, [&](const auto* values) {
    PrepareScaleKernel<<<1, kThreads, 0, stream>>>(values, n, padded_n, static_cast<float*>(memory));
  });
  CheckLaunch("PrepareScaleKernel");
}

}  // namespace ortqlora::cuda

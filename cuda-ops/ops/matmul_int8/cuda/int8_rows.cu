#include "common/cuda/check.h"
#include "common/cuda/numbers.cuh"
#include "ops/matmul_int8/cuda/int8_rows.h"

namespace ortqlora::cuda {
namespace {

constexpr int kThreads = 256, kVector = 8;

// Where a row stands among each 16: rows 2g and 2g + 1 at g and g + 8.
__device__ __forceinline__ int64_t PlaceOf(int64_t row) {
  return (row & ~int64_t{15}) | ((row & 15) >> 1) | ((row & 1) << 3);
}

// A thread a word of the packed weight: rows k and k + 1 of columns n and n + 1.
__global__ void LayOutInt8Kernel(const uint32_t* words, int64_t count, int64_t blocks_k, int64_t padded,
                                 bool forward, int8_t* out) {
  const int64_t i = blockIdx.x * static_cast<int64_t>(kThreads) + threadIdx.x;
  if (i >= count) return;
  const int64_t block_k = (i >> 10) % blocks_k, block_n = (i >> 10) / blocks_k;
  const Tile64Word at = Tile64Position(static_cast<int>(i & 1023));
  const int64_t n = block_n * 64 + at.n, k = block_k * 64 + at.k;
  const uint32_t word = words[i] ^ 0x80808080u;  // bytes (n, k), (n, k + 1), (n + 1, k), (n + 1, k + 1)
  const int64_t row = forward ? n : k, column = forward ? k : n;
  const uint32_t first = forward ? word : __byte_perm(word, 0, 0x4420),
                 second = forward ? word >> 16 : __byte_perm(word, 0, 0x4431);
  *reinterpret_cast<uint16_t*>(out + PlaceOf(row) * padded + column) = static_cast<uint16_t>(first);
  *reinterpret_cast<uint16_t*>(out + PlaceOf(row + 1) * padded + column) = static_cast<uint16_t>(second);
}

// A block a row, which stays in the cache between its two passes.
template <typename T, int kStep>
__global__ __launch_bounds__(kThreads) void QuantizeRowsKernel(const RowsToQuantize call, const float* scale,
                                                               const float* powers) {
  const int64_t row = blockIdx.x;
  const T* const from = static_cast<const T*>(call.in) + row * call.width;
  int8_t* const to = call.out + row * call.padded_width;
  const float power = scale == nullptr ? 1.0f : powers[1];
  const auto load = [&](int64_t i, float(&values)[kStep]) {
    const auto pack = *reinterpret_cast<const Pack<T, kStep>*>(from + i);
#pragma unroll
    for (int v = 0; v < kStep; ++v) values[v] = ToFloat(pack.values[v]);
    if (scale == nullptr) return;
    constexpr int kAtOnce = kStep < 4 ? 1 : 4;
#pragma unroll
    for (int first = 0; first < kStep; first += kAtOnce) {
      const auto factors = *reinterpret_cast<const Pack<float, kAtOnce>*>(scale + i + first);
#pragma unroll
      for (int v = 0; v < kAtOnce; ++v) values[first + v] *= factors.values[v] * power;
    }
  };
  float most = 0;
  bool finite = true;
  for (int64_t i = static_cast<int64_t>(threadIdx.x) * kStep; i < call.width; i += kThreads * kStep) {
    float values[kStep];
    load(i, values);
#pragma unroll
    for (int v = 0; v < kStep; ++v) {
      most = fmaxf(most, fabsf(values[v]));
      finite = finite && isfinite(values[v]);
    }
  }
  most = BlockMax<kThreads>(most);
  finite = __syncthreads_and(finite) != 0;
  const float inverse = most > 0 && finite ? 127.0f / most : 0.0f;
  if (threadIdx.x == 0) call.scales[row] = finite ? most / 127.0f : NAN;
  for (int64_t i = static_cast<int64_t>(threadIdx.x) * kStep; i < call.padded_width; i += kThreads * kStep) {
    float values[kStep] = {};
    if (i < call.width) load(i, values);
    Pack<int8_t, kStep> pack;
#pragma unroll
    for (int v = 0; v < kStep; ++v) {
      pack.values[v] = static_cast<int8_t>(max(-127, min(127, __float2int_rn(values[v] * inverse))));
    }
    *reinterpret_cast<Pack<int8_t, kStep>*>(to + i) = pack;
  }
}

}  // namespace

void LaunchLayOutInt8(const DeviceBlocks& weight, Direction direction, int8_t* out, cudaStream_t stream) {
  const int64_t words = Int8WeightBytes(weight) / 4;
  if (words == 0) return;
  const bool forward = direction == Direction::kForward;
  LayOutInt8Kernel<<<static_cast<unsigned>(CeilDiv(words, kThreads)), kThreads, 0, stream>>>(
      reinterpret_cast<const uint32_t*>(weight.data), words, weight.padded_k / 64,
      forward ? weight.padded_k : weight.padded_n, forward, out);
  CheckLaunch("LayOutInt8Kernel");
}

void LaunchQuantizeRows(const RowsToQuantize& call, cudaStream_t stream) {
  if (call.rows == 0) return;
  const float* const scale = call.scale == nullptr ? nullptr : call.scale->scale;
  const float* const powers = call.scale == nullptr ? nullptr : call.scale->powers;
  const bool wide = call.width % kVector == 0 && reinterpret_cast<uintptr_t>(call.in) % 16 == 0;
  const auto blocks = static_cast<unsigned>(call.rows);
  WithElement(call.element, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    const auto kernel = wide ? QuantizeRowsKernel<T, kVector> : QuantizeRowsKernel<T, 1>;
    kernel<<<blocks, kThreads, 0, stream>>>(call, scale, powers);
  });
  CheckLaunch("QuantizeRowsKernel");
}

}  // namespace ortqlora::cuda

#include "common/cuda/check.h"
#include "common/cuda/numbers.cuh"
#include "ops/dequantize_int8/dequantize_int8_cuda.h"

namespace ortqlora::cuda {
namespace {

constexpr int kThreads = 256;

// A block turns one 64 x 64 block of the weight, through shared memory so that reads and writes are both in
// order.
template <typename T>
__global__ void DequantizeKernel(const DeviceBlocks weight, const float* scale, T* out) {
  __shared__ uint32_t words[1024];
  const int64_t blocks_k = weight.padded_k / 64, block_k = blockIdx.x % blocks_k,
                block_n = blockIdx.x / blocks_k;
  const auto* from = reinterpret_cast<const uint4*>(weight.data + static_cast<int64_t>(blockIdx.x) * 4096);
  reinterpret_cast<uint4*>(words)[threadIdx.x] = from[threadIdx.x];
  __syncthreads();
  const auto* bytes = reinterpret_cast<const uint8_t*>(words);
  const int column = threadIdx.x % 64;
  const int64_t n = block_n * 64 + column;
  if (n >= weight.n) return;
  const float factor = scale[n];
  for (int row = threadIdx.x / 64; row < 64; row += kThreads / 64) {
    const int64_t k = block_k * 64 + row;
    if (k >= weight.k) return;
    const float q = static_cast<float>(static_cast<int>(bytes[Tile64Offset(row, column, 64)]) - 128);
    out[k * weight.n + n] = FromFloat<T>(q * factor);
  }
}

}  // namespace

void LaunchDequantize(const DeviceBlocks& weight, const float* scale, Element element, void* out,
                      cudaStream_t stream) {
  const auto blocks = static_cast<unsigned>(weight.padded_k / 64 * (weight.padded_n / 64));
  if (blocks == 0) return;
  switch (element) {
    case Element::kFloat:
      DequantizeKernel<<<blocks, kThreads, 0, stream>>>(weight, scale, static_cast<float*>(out));
      break;
    case Element::kHalf:
      DequantizeKernel<<<blocks, kThreads, 0, stream>>>(weight, scale, static_cast<__half*>(out));
      break;
    case Element::kBfloat16:
      DequantizeKernel<<<blocks, kThreads, 0, stream>>>(weight, scale, static_cast<__nv_bfloat16*>(out));
      break;
  }
  CheckLaunch("DequantizeKernel");
}

}  // namespace ortqlora::cuda

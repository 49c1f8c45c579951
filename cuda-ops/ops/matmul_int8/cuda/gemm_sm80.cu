// Ampere, Ada and what follows, and any device without wgmma: mma.sync m16n8k16 with the weight as operand A
// from layout tile64, activations through ldmatrix, three stages of cp.async.

#include "common/cuda/check.h"
#include "common/cuda/sm80.cuh"
#include "ops/matmul_int8/cuda/convert.cuh"
#include "ops/matmul_int8/cuda/gemm_epilogue.cuh"

namespace ortqlora::cuda {
namespace {

constexpr int kThreads = 256, kStages = 3;
constexpr int kRowTile = 128, kStep = 64;
constexpr int kWeightBytes = kRowTile * kStep, kFactorBytes = kStep * 2;

template <int kTokens>
struct Stage {
  static constexpr int kWeightsAt = kTokens * 128;
  static constexpr int kFactorsAt = kWeightsAt + kWeightBytes;
  static constexpr int kBytes = kFactorsAt + kFactorBytes;
};

__device__ __forceinline__ uint32_t ReadShared(uint32_t address) {
  uint32_t value;
  asm volatile("ld.shared.b32 %0, [%1];" : "=r"(value) : "r"(address) : "memory");
  return value;
}

// Eight warps: four over 32 rows each (two fragments of 16), two over half of the tokens each.
template <int kTokens, bool kHalf, bool kGrad, bool kScaled>
__global__ __launch_bounds__(kThreads) void GemmSm80Kernel(const GemmArguments call, float* partial) {
  using S = Stage<kTokens>;
  constexpr int kColumns = kTokens / 2 / 8;  // fragments of 8 tokens a warp
  extern __shared__ __align__(128) uint8_t shared[];
  const auto base = SharedAddress(shared);
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
  const int row = blockIdx.x * kRowTile, token = blockIdx.y * kTokens;
  const int begin = static_cast<int>(static_cast<int64_t>(call.steps) * blockIdx.z / gridDim.z);
  const int end = static_cast<int>(static_cast<int64_t>(call.steps) * (blockIdx.z + 1) / gridDim.z);
  const auto* activations = static_cast<const uint16_t*>(call.activations);

  const auto load = [&](int step) {
    const uint32_t stage = base + (step - begin) % kStages * S::kBytes;
    if (step < end) {
#pragma unroll
      for (int i = threadIdx.x; i < kTokens * 8; i += kThreads) {
        const int in_tile = i >> 3, chunk = i & 7, column = step * kStep + chunk * 8;
        const bool inside = token + in_tile < call.m && column < call.columns;
        const uint16_t* from = activations + (inside ? (token + in_tile) * call.pitch + column : 0);
        CopyAsync(stage + in_tile * 128 + ((chunk ^ (in_tile & 7)) << 4), from, inside);
      }
      const int weight_step = step % call.weight_steps;
#pragma unroll
      for (int i = threadIdx.x; i < kWeightBytes / 16; i += kThreads) {
        const int block = i >> 8;
        const int64_t at = !kGrad ? static_cast<int64_t>(row / 64 + block) * call.blocks_k + weight_step
                                  : static_cast<int64_t>(weight_step) * call.blocks_k + row / 64 + block;
        CopyAsync(stage + S::kWeightsAt + i * 16, call.blocks + at * 4096 + (i & 255) * 16, true);
      }
      if (kScaled && threadIdx.x < kFactorBytes / 16) {
        CopyAsync(stage + S::kFactorsAt + threadIdx.x * 16,
                  call.factors + weight_step * kStep + threadIdx.x * 8, true);
      }
    }
    CopyCommit();
  };

  float sums[2][kColumns][4] = {};
  for (int step = begin; step < begin + kStages - 1; ++step) load(step);
  const int rows_of = (warp & 3) * 2, tokens_of = (warp >> 2) * (kTokens / 2);
  for (int step = begin; step < end; ++step) {
    CopyWait<kStages - 2>();
    __syncthreads();
    load(step + kStages - 1);
    const uint32_t stage = base + (step - begin) % kStages * S::kBytes;
#pragma unroll
    for (int k16 = 0; k16 < 4; ++k16) {
      uint32_t a[2][4];
      uint32_t factors[2] = {};
#pragma unroll
      for (int half = 0; kScaled && half < 2; ++half) {
        factors[half] = ReadShared(stage + S::kFactorsAt + k16 * 32 + half * 16 + t * 4);
      }
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const int group = rows_of + r;  // of 16 rows: block and quarter
        uint32_t words[2];
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          words[half] = ReadShared(stage + S::kWeightsAt + (group >> 2) * 4096 +
                                   WordIndex<kGrad>(group & 3, g, t, k16, half) * 4);
        }
        Convert<kHalf, kGrad, kScaled>(words, factors, a[r]);
      }
#pragma unroll
      for (int column = 0; column < kColumns; ++column) {
        // Lanes 0 to 15 name the rows of the two 8 x 8 matrices.
        const int in_tile = tokens_of + column * 8 + (lane & 7), chunk = k16 * 2 + ((lane >> 3) & 1);
        uint32_t b0, b1;
        asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                     : "=r"(b0), "=r"(b1)
                     : "r"(stage + in_tile * 128 + ((chunk ^ (in_tile & 7)) << 4))
                     : "memory");
#pragma unroll
        for (int r = 0; r < 2; ++r) Mma<kHalf>(sums[r][column], a[r], b0, b1);
      }
    }
  }
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int first = row + (rows_of + r) * 16 + 2 * g;
    const RowPair pair(call, first);
#pragma unroll
    for (int column = 0; column < kColumns; ++column) {
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        const int at = token + tokens_of + column * 8 + 2 * t + c;
        const float x = sums[r][column][c], y = sums[r][column][2 + c];
        if (gridDim.z == 1) {
          pair.Store<kHalf>(call, at, x, y);
        } else if (at < call.m) {
          float* to = partial + (static_cast<int64_t>(blockIdx.z) * call.m + at) * call.rows;
          if (first < call.rows) to[first] = x;
          if (first + 1 < call.rows) to[first + 1] = y;
        }
      }
    }
  }
}

// Adds up the parts of a split reduction, in a fixed order.
template <bool kHalf>
__global__ void AddPartsKernel(const GemmArguments call, const float* partial, int split) {
  const int row = (blockIdx.x * blockDim.x + threadIdx.x) * 2, token = blockIdx.y;
  if (row >= call.rows) return;
  const int64_t at = static_cast<int64_t>(token) * call.rows + row,
                part = static_cast<int64_t>(call.m) * call.rows;
  float x = 0, y = 0;
  for (int i = 0; i < split; ++i) {
    x += partial[i * part + at];
    if (row + 1 < call.rows) y += partial[i * part + at + 1];
  }
  RowPair(call, row).Store<kHalf>(call, token, x, y);
}

template <int kTokens, bool kHalf, bool kGrad, bool kScaled>
void Launch(int split, const GemmArguments& call, float* partial, cudaStream_t stream) {
  constexpr int kBytes = kStages * Stage<kTokens>::kBytes;
  const auto kernel = GemmSm80Kernel<kTokens, kHalf, kGrad, kScaled>;
  static const cudaError_t raised =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  Check(raised, "cudaFuncSetAttribute of GemmSm80Kernel");
  const dim3 grid(static_cast<unsigned>(CeilDiv(call.rows, kRowTile)),
                  static_cast<unsigned>(CeilDiv(call.m, kTokens)), static_cast<unsigned>(split));
  kernel<<<grid, kThreads, kBytes, stream>>>(call, partial);
  CheckLaunch("GemmSm80Kernel");
  if (split == 1) return;
  const dim3 add(static_cast<unsigned>(CeilDiv(call.rows, 2 * kThreads)), static_cast<unsigned>(call.m));
  AddPartsKernel<kHalf><<<add, kThreads, 0, stream>>>(call, partial, split);
  CheckLaunch("AddPartsKernel");
}

template <int kTokens, bool kHalf>
void Dispatch(const GemmVariant& variant, int split, const GemmArguments& call, float* partial,
              cudaStream_t stream) {
  if (!variant.grad) return Launch<kTokens, kHalf, false, false>(split, call, partial, stream);
  if (!variant.scaled) return Launch<kTokens, kHalf, true, false>(split, call, partial, stream);
  Launch<kTokens, kHalf, true, true>(split, call, partial, stream);
}

template <bool kHalf>
void DispatchTokens(const GemmVariant& variant, int tokens, int split, const GemmArguments& call,
                    float* partial, cudaStream_t stream) {
  switch (tokens) {
    case 16:
      return Dispatch<16, kHalf>(variant, split, call, partial, stream);
    case 64:
      return Dispatch<64, kHalf>(variant, split, call, partial, stream);
    default:
      return Dispatch<128, kHalf>(variant, split, call, partial, stream);
  }
}

}  // namespace

void LaunchGemmSm80(const GemmVariant& variant, int tokens, int split, const GemmArguments& call,
                    float* partial, cudaStream_t stream) {
  variant.half ? DispatchTokens<true>(variant, tokens, split, call, partial, stream)
               : DispatchTokens<false>(variant, tokens, split, call, partial, stream);
}

}  // namespace ortqlora::cuda

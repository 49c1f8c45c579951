#include <algorithm>

#include "common/cuda/check.h"
#include "common/cuda/numbers.cuh"
#include "ops/normalization/normalization_cuda.h"

namespace ortqlora::cuda {
namespace {

constexpr int kThreads = 256;
// Parts into which the rows are split for the sums over them.
constexpr int64_t kMostParts = 128, kRowsPerPart = 32;

int64_t Parts(int64_t rows) {
  return std::max<int64_t>(1, std::min(kMostParts, CeilDiv(rows, kRowsPerPart)));
}

// Calls visit(column, element) for a row's elements, kVector of them loaded at once.
template <int kVector, typename T, typename Visit>
__device__ __forceinline__ void ForRow(const T* row, int64_t width, const Visit& visit) {
  for (int64_t i = static_cast<int64_t>(threadIdx.x) * kVector; i < width; i += kThreads * kVector) {
    const Pack<T, kVector> pack = *reinterpret_cast<const Pack<T, kVector>*>(row + i);
#pragma unroll
    for (int v = 0; v < kVector; ++v) visit(i + v, ToFloat(pack.values[v]));
  }
}

// Elements i to i + kCount - 1 of a weight, loaded at once: it is aligned to 16 bytes and i a multiple of kCount, or kCount
// is 1.
template <typename W, int kCount>
__device__ __forceinline__ void LoadAs(const void* data, int64_t i, float (&values)[kCount]) {
  constexpr int kAtOnce = kCount * sizeof(W) <= 16 ? kCount : static_cast<int>(16 / sizeof(W));
#pragma unroll
  for (int first = 0; first < kCount; first += kAtOnce) {
    const auto pack = *reinterpret_cast<const Pack<W, kAtOnce>*>(static_cast<const W*>(data) + i + first);
#pragma unroll
    for (int v = 0; v < kAtOnce; ++v) values[first + v] = ToFloat(pack.values[v]);
  }
}

template <int kCount>
__device__ __forceinline__ void Load(const AnyVector& vector, int64_t i, float (&values)[kCount]) {
  if (vector.element == Element::kFloat) return LoadAs<float>(vector.data, i, values);
  if (vector.element == Element::kHalf) return LoadAs<__half>(vector.data, i, values);
  LoadAs<__nv_bfloat16>(vector.data, i, values);
}

// One block a row, which stays in the cache for the passes over it.
template <typename T, int kVector, bool kCentre>
__global__ void NormKernel(const NormCall call) {
  const int64_t row = blockIdx.x;
  const auto* x = static_cast<const T*>(call.x) + row * call.width;
  auto* y = static_cast<T*>(call.y) + row * call.width;
  const float size = static_cast<float>(call.width);
  float mean = 0;
  if constexpr (kCentre) {
    ForRow<kVector>(x, call.width, [&](int64_t, float value) { mean += value; });
    mean = BlockSum<kThreads>(mean) / size;
  }
  float squares = 0;
  ForRow<kVector>(x, call.width, [&](int64_t, float value) { squares += (value - mean) * (value - mean); });
  const float inv = 1.0f / sqrtf(BlockSum<kThreads>(squares) / size + call.epsilon);
  const AnyVector weight{call.weight, call.weight_element}, bias{call.bias, call.weight_element};
  for (int64_t i = static_cast<int64_t>(threadIdx.x) * kVector; i < call.width; i += kThreads * kVector) {
    Pack<T, kVector> pack = *reinterpret_cast<const Pack<T, kVector>*>(x + i);
    float weights[kVector], biases[kVector] = {};
    Load(weight, i, weights);
    if (call.bias != nullptr) Load(bias, i, biases);
#pragma unroll
    for (int v = 0; v < kVector; ++v) {
      const float normal = (ToFloat(pack.values[v]) - mean) * inv;
      pack.values[v] = FromFloat<T>(fmaf(normal, weights[v], biases[v]));
    }
    *reinterpret_cast<Pack<T, kVector>*>(y + i) = pack;
  }
  if (threadIdx.x == 0) {
    call.inv[row] = inv;
    if constexpr (kCentre) call.mean[row] = mean;
  }
}

template <typename T, int kVector, bool kCentre>
__global__ void NormGradKernel(const NormGradCall call) {
  const int64_t row = blockIdx.x;
  const auto* dy = static_cast<const T*>(call.dy) + row * call.width;
  const auto* x = static_cast<const T*>(call.x) + row * call.width;
  auto* dx = static_cast<T*>(call.dx) + row * call.width;
  const AnyVector weight{call.weight, call.weight_element};
  const float inv = call.inv[row], mean = kCentre ? call.mean[row] : 0.0f;
  float sum = 0, along = 0;
  for (int64_t i = static_cast<int64_t>(threadIdx.x) * kVector; i < call.width; i += kThreads * kVector) {
    const Pack<T, kVector> grads = *reinterpret_cast<const Pack<T, kVector>*>(dy + i);
    const Pack<T, kVector> values = *reinterpret_cast<const Pack<T, kVector>*>(x + i);
    float weights[kVector];
    Load(weight, i, weights);
#pragma unroll
    for (int v = 0; v < kVector; ++v) {
      const float t = ToFloat(grads.values[v]) * weights[v];
      sum += t;
      along += t * (ToFloat(values.values[v]) - mean) * inv;
    }
  }
  const float size = static_cast<float>(call.width);
  along = BlockSum<kThreads>(along) / size;
  if constexpr (kCentre) sum = BlockSum<kThreads>(sum) / size;
  const float level = kCentre ? sum : 0.0f;
  for (int64_t i = static_cast<int64_t>(threadIdx.x) * kVector; i < call.width; i += kThreads * kVector) {
    const Pack<T, kVector> grads = *reinterpret_cast<const Pack<T, kVector>*>(dy + i);
    Pack<T, kVector> values = *reinterpret_cast<const Pack<T, kVector>*>(x + i);
    float weights[kVector], added[kVector] = {};
    Load(weight, i, weights);
    if (call.addend != nullptr) Load(AnyVector{call.addend, call.element}, row * call.width + i, added);
#pragma unroll
    for (int v = 0; v < kVector; ++v) {
      const float t = ToFloat(grads.values[v]) * weights[v];
      const float normal = (ToFloat(values.values[v]) - mean) * inv;
      values.values[v] = FromFloat<T>(fmaf(inv, t - level - normal * along, added[v]));
    }
    *reinterpret_cast<Pack<T, kVector>*>(dx + i) = values;
  }
}

// Sums over a part of the rows: a thread a column; partial [parts, 2, width].
template <typename T>
__global__ void NormWeightGradKernel(const NormGradCall call) {
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x, parts = gridDim.y;
  if (column >= call.width) return;
  const int64_t first = call.rows * blockIdx.y / parts, last = call.rows * (blockIdx.y + 1) / parts;
  float weight = 0, bias = 0;
  for (int64_t row = first; row < last; ++row) {
    const int64_t at = row * call.width + column;
    const float grad = ToFloat(static_cast<const T*>(call.dy)[at]);
    const float mean = call.mean == nullptr ? 0.0f : call.mean[row];
    weight += grad * (ToFloat(static_cast<const T*>(call.x)[at]) - mean) * call.inv[row];
    bias += grad;
  }
  call.workspace[(blockIdx.y * 2) * call.width + column] = weight;
  call.workspace[(blockIdx.y * 2 + 1) * call.width + column] = bias;
}

template <typename W>
__global__ void AddPartsKernel(const float* partial, int64_t parts, int64_t width, W* dweight, W* dbias) {
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (column >= width) return;
  float weight = 0, bias = 0;
  for (int64_t part = 0; part < parts; ++part) {
    weight += partial[part * 2 * width + column];
    bias += partial[(part * 2 + 1) * width + column];
  }
  if (dweight != nullptr) dweight[column] = FromFloat<W>(weight);
  if (dbias != nullptr) dbias[column] = FromFloat<W>(bias);
}

template <typename T>
bool Wide(int64_t width, std::initializer_list<const void*> arrays) {
  return width % (16 / sizeof(T)) == 0 && std::all_of(arrays.begin(), arrays.end(), [](const void* array) {
           return reinterpret_cast<uintptr_t>(array) % 16 == 0;
         });
}

}  // namespace

void LaunchNorm(const NormCall& call, cudaStream_t stream) {
  if (call.rows == 0 || call.width == 0) return;
  WithElement(call.element, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    constexpr int kWide = 16 / sizeof(T);
    const bool wide = Wide<T>(call.width, {call.x, call.y, call.weight, call.bias});
    const auto kernel = call.mean == nullptr ? wide ? NormKernel<T, kWide, false> : NormKernel<T, 1, false>
                        : wide ? NormKernel<T, kWide, true>
                                             : NormKernel<T, 1, true>;
    kernel<<<static_cast<unsigned>(call.rows), kThreads, 0, stream>>>(call);
  });
  CheckLaunch("NormKernel");
}

int64_t NormGradWorkspace(int64_t rows, int64_t width) { return Parts(rows) * 2 * width * 4; }

void LaunchNormGrad(const NormGradCall& call, cudaStream_t stream) {
  if (call.width == 0) return;
  WithElement(call.element, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    constexpr int kWide = 16 / sizeof(T);
    const bool wide = Wide<T>(call.width, {call.dy, call.x, call.dx, call.weight, call.addend});
    const auto kernel = call.mean == nullptr
                            ? wide ? NormGradKernel<T, kWide, false> : NormGradKernel<T, 1, false>
                        : wide ? NormGradKernel<T, kWide, true>
                               : NormGradKernel<T, 1, true>;
    if (call.rows != 0) kernel<<<static_cast<unsigned>(call.rows), kThreads, 0, stream>>>(call);
    CheckLaunch("NormGradKernel");
    if (call.dweight == nullptr && call.dbias == nullptr) return;
    const auto columns = static_cast<unsigned>(CeilDiv(call.width, kThreads));
    const int64_t parts = Parts(call.rows);
    NormWeightGradKernel<T><<<dim3(columns, static_cast<unsigned>(parts)), kThreads, 0, stream>>>(call);
    CheckLaunch("NormWeightGradKernel");
    WithElement(call.weight_element, [&](auto* weight_type) {
      using W = std::remove_pointer_t<decltype(weight_type)>;
      AddPartsKernel<W><<<columns, kThreads, 0, stream>>>(
          call.workspace, parts, call.width, static_cast<W*>(call.dweight), static_cast<W*>(call.dbias));
    });
    CheckLaunch("AddPartsKernel");
  });
}

}  // namespace ortqlora::cuda

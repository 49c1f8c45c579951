#include "common/cuda/check.h"
#include "common/cuda/numbers.cuh"
#include "ops/matmul_int8/cuda/prepare_rows.h"

namespace ortqlora::cuda {
namespace {

constexpr int kThreads = 256;

// A block takes one row at a time; kVector elements a thread, where rows are aligned for it.
template <typename In, typename Out, int kTerms, int kVector>
__global__ void PrepareRowsKernel(const In* in, int64_t rows, int64_t width, int64_t padded,
                                  const float* scale, const float* powers, Out* out) {
  const float power = scale == nullptr ? 1.0f : powers[1];
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const In* from = in + row * width;
    Out* to = out + row * kTerms * padded;
    for (int64_t i = static_cast<int64_t>(threadIdx.x) * kVector; i < padded; i += kThreads * kVector) {
      Pack<In, kVector> values{};
      if (i < width) values = *reinterpret_cast<const Pack<In, kVector>*>(from + i);
      Pack<Out, kVector> terms[kTerms];
#pragma unroll
      for (int v = 0; v < kVector; ++v) {
        float value = i < width ? ToFloat(values.values[v]) : 0.0f;
        if (scale != nullptr && i < width) value *= scale[i + v] * power;
#pragma unroll
        for (int term = 0; term < kTerms; ++term) {
          terms[term].values[v] = FromFloat<Out>(value);
          // What is left of an infinity is not a number.
          value = isfinite(value) ? value - ToFloat(terms[term].values[v]) : 0.0f;
        }
      }
#pragma unroll
      for (int term = 0; term < kTerms; ++term) {
        *reinterpret_cast<Pack<Out, kVector>*>(to + term * padded + i) = terms[term];
      }
    }
  }
}

template <typename T>
__global__ void FillRowsKernel(const float* bias, const T* addend, int64_t count, int64_t width, T* out) {
  const int64_t i = blockIdx.x * static_cast<int64_t>(kThreads) + threadIdx.x;
  if (i >= count) return;
  out[i] = FromFloat<T>((bias == nullptr ? 0.0f : bias[i % width]) +
                        (addend == nullptr ? 0.0f : ToFloat(addend[i])));
}

template <typename In, typename Out, int kTerms>
void Launch(const RowsToPrepare& call, cudaStream_t stream) {
  const auto blocks = static_cast<unsigned>(call.rows < 65535 ? call.rows : 65535);
  const float* scale = call.scale == nullptr ? nullptr : call.scale->scale;
  const float* powers = call.scale == nullptr ? nullptr : call.scale->powers;
  const bool vector = call.width % 4 == 0 && reinterpret_cast<uintptr_t>(call.in) % (4 * sizeof(In)) == 0;
  const auto kernel = vector ? PrepareRowsKernel<In, Out, kTerms, 4> : PrepareRowsKernel<In, Out, kTerms, 1>;
  kernel<<<blocks, kThreads, 0, stream>>>(static_cast<const In*>(call.in), call.rows, call.width,
                                          call.padded_width, scale, powers, static_cast<Out*>(call.out));
}

}  // namespace

void LaunchPrepareRows(const RowsToPrepare& call, cudaStream_t stream) {
  if (call.rows == 0) return;
  switch (call.element) {
    case Element::kFloat:
      if (call.terms == 1) Launch<float, __nv_bfloat16, 1>(call, stream);
      if (call.terms == 2) Launch<float, __nv_bfloat16, 2>(call, stream);
      if (call.terms == 3) Launch<float, __nv_bfloat16, 3>(call, stream);
      break;
    case Element::kHalf:
      Launch<__half, __half, 1>(call, stream);
      break;
    case Element::kBfloat16:
      Launch<__nv_bfloat16, __nv_bfloat16, 1>(call, stream);
      break;
  }
  CheckLaunch("PrepareRowsKernel");
}

void LaunchFillRows(Element element, const float* bias, const void* addend, int64_t rows, int64_t width,
                    void* out, cudaStream_t stream) {
  WithElement(element, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    const int64_t count = rows * width;
    FillRowsKernel<T><<<static_cast<unsigned>(CeilDiv(count, kThreads)), kThreads, 0, stream>>>(
        bias, static_cast<const T*>(addend), count, width, static_cast<T*>(out));
  });
  CheckLaunch("FillRowsKernel");
}

}  // namespace ortqlora::cuda

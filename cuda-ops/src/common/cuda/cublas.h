#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "common/cuda/element.h"

namespace ortqlora::cuda {

// A row-major matrix, or with `transposed` one that is read as its transpose. `rows` and `columns` are those
// of the matrix in memory, rows being `pitch` elements apart, or `columns` where that is 0.
struct MatrixView {
  Element element = Element::kFloat;
  const void* data = nullptr;
  int64_t rows = 0, columns = 0;
  bool transposed = false;
  int64_t pitch = 0;
};

// cuBLAS's dense product, loaded at run time: ONNX Runtime's CUDA provider brings the library into the
// process, and nothing else of ours needs it. Sums are fp32; fp32 operands are not rounded.
class Cublas {
 public:
  // This thread's handle for the current device. Throws Error where there is no libcublas 12 or 13.
  static Cublas& Get();

  // out[rows(a), columns(b)] = alpha * a * b + beta * out; a and b of one element, out of it or fp32. An
  // empty reduction gives beta * out. Rows of out are `out_pitch` elements apart, or columns(b) where that is 0.
  void Multiply(float alpha, const MatrixView& a, const MatrixView& b, float beta, Element out_element,
                void* out, cudaStream_t stream, int64_t out_pitch = 0);

 private:
  Cublas();
  void* handle_ = nullptr;
};

}  // namespace ortqlora::cuda

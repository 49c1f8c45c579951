#pragma once

#include <cstdint>

namespace ortqlora::bench {

// cuBLAS's bf16 product with fp32 accumulation, loaded at run time: the library is no requirement of ours.
class Cublas {
 public:
  // Null where no libcublas.so.12 or .13 is on the loader's path.
  static Cublas* Load();

  // y[m, n] = x[m, k] * w[k, n], or with `transposed` y[m, k] = x[m, n] * w[k, n]^T; all bf16.
  void Multiply(bool transposed, int64_t m, int64_t k, int64_t n, const void* x, const void* w, void* y);
  void SetStream(void* stream);

 private:
  Cublas() = default;
  void* handle_ = nullptr;
  int (*set_stream_)(void*, void*) = nullptr;
  int (*gemm_)(void*, int, int, int, int, int, const void*, const void*, int, int, const void*, int, int,
               const void*, void*, int, int, int, int) = nullptr;
};

}  // namespace ortqlora::bench

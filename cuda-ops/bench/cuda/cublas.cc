#include "bench/cuda/cublas.h"

#include <dlfcn.h>

#include "common/cuda/check.h"

namespace ortqlora::bench {
namespace {

// Values of cublas_api.h and library_types.h.
constexpr int kNoTranspose = 0, kTranspose = 1, kBf16 = 14, kComputeFp32 = 68, kDefaultAlgorithm = -1;
constexpr size_t kWorkspaceBytes = size_t{64} << 20;

template <typename Function>
bool Find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  return function != nullptr;
}

}  // namespace

Cublas* Cublas::Load() {
  static Cublas cublas;
  void* library = nullptr;
  for (const char* name : {"libcublas.so.13", "libcublas.so.12", "libcublas.so"}) {
    if (library == nullptr) library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  }
  int (*create)(void**) = nullptr;
  int (*set_workspace)(void*, void*, size_t) = nullptr;
  if (library == nullptr || !Find(library, "cublasCreate_v2", create) ||
      !Find(library, "cublasSetStream_v2", cublas.set_stream_) ||
      !Find(library, "cublasGemmEx", cublas.gemm_) ||
      !Find(library, "cublasSetWorkspace_v2", set_workspace) || create(&cublas.handle_) != 0) {
    return nullptr;
  }
  void* workspace = nullptr;
  cuda::Check(cudaMalloc(&workspace, kWorkspaceBytes), "cudaMalloc");
  set_workspace(cublas.handle_, workspace, kWorkspaceBytes);
  return &cublas;
}

void Cublas::SetStream(void* stream) { set_stream_(handle_, stream); }

void Cublas::Multiply(bool transposed, int64_t m, int64_t k, int64_t n, const void* x, const void* w,
                      void* y) {
  const float one = 1, zero = 0;
  const int rows = static_cast<int>(m), out = static_cast<int>(transposed ? k : n),
            reduction = static_cast<int>(transposed ? n : k), pitch = static_cast<int>(n);
  const int status =
      gemm_(handle_, transposed ? kTranspose : kNoTranspose, kNoTranspose, out, rows, reduction, &one, w,
            kBf16, pitch, x, kBf16, reduction, &zero, y, kBf16, out, kComputeFp32, kDefaultAlgorithm);
  if (status != 0) throw std::runtime_error(Concat("cublasGemmEx failed with ", status, "."));
}

}  // namespace ortqlora::bench

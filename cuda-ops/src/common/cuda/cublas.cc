#include "common/cuda/cublas.h"

#include <map>
#include <memory>

#if defined(_WIN32)
#include <windows.h>
#else
#include <dlfcn.h>
#endif

#include "common/cuda/check.h"
#include "common/cuda/device.h"

namespace ortqlora::cuda {
namespace {

// Values of cublas_api.h and library_types.h.
constexpr int kNoTranspose = 0, kTranspose = 1, kTypeFloat = 0, kTypeHalf = 2, kTypeBfloat16 = 14;
constexpr int kComputeFloat = 68, kDefaultAlgorithm = -1;

// A row-major product a * b is the column-major product b^T * a^T, hence the order of operands below.
using GemmEx = int (*)(void* handle, int transpose_a, int transpose_b, int m, int n, int k, const void* alpha,
                       const void* a, int a_type, int a_pitch, const void* b, int b_type, int b_pitch,
                       const void* beta, void* c, int c_type, int c_pitch, int compute, int algorithm);

struct Functions {
  int (*create)(void**) = nullptr;
  int (*set_stream)(void*, cudaStream_t) = nullptr;
  GemmEx gemm = nullptr;
};

#if defined(_WIN32)
void* OpenLibrary() {
  for (const char* name : {"cublas64_13.dll", "cublas64_12.dll"}) {
    if (void* library = GetModuleHandleA(name)) return library;
  }
  for (const char* name : {"cublas64_13.dll", "cublas64_12.dll"}) {
    if (void* library = LoadLibraryA(name)) return library;
  }
  return nullptr;
}
void* Symbol(void* library, const char* name) {
  return reinterpret_cast<void*>(GetProcAddress(static_cast<HMODULE>(library), name));
}
#else
void* OpenLibrary() {
  // The one the provider brought, before any other version on the path.
  for (int mode : {RTLD_NOW | RTLD_NOLOAD, RTLD_NOW}) {
    for (const char* name : {"libcublas.so.13", "libcublas.so.12", "libcublas.so"}) {
      if (void* library = dlopen(name, mode)) return library;
    }
  }
  return nullptr;
}
void* Symbol(void* library, const char* name) { return dlsym(library, name); }
#endif

const Functions& Load() {
  static const Functions functions = [] {
    Functions found;
    void* library = OpenLibrary();
    if (library == nullptr) {
      Fail(
          "cuBLAS 12 or 13 was not found; ONNX Runtime's CUDA provider needs it too. Put it on the library "
          "path.");
    }
    found.create = reinterpret_cast<decltype(found.create)>(Symbol(library, "cublasCreate_v2"));
    found.set_stream = reinterpret_cast<decltype(found.set_stream)>(Symbol(library, "cublasSetStream_v2"));
    found.gemm = reinterpret_cast<GemmEx>(Symbol(library, "cublasGemmEx"));
    if (found.create == nullptr || found.set_stream == nullptr || found.gemm == nullptr) {
      Fail("the cuBLAS library found lacks cublasGemmEx.");
    }
    return found;
  }();
  return functions;
}

void CheckCublas(int status, const char* what) {
  if (status != 0) throw std::runtime_error(Concat(what, " failed with cuBLAS status ", status, "."));
}

int PitchOf(const MatrixView& matrix) {
  return static_cast<int>(matrix.pitch == 0 ? matrix.columns : matrix.pitch);
}

int TypeOf(Element element) {
  return element == Element::kFloat ? kTypeFloat : element == Element::kHalf ? kTypeHalf : kTypeBfloat16;
}

}  // namespace

Cublas::Cublas() { CheckCublas(Load().create(&handle_), "cublasCreate"); }

Cublas& Cublas::Get() {
  // Handles are for one thread and one device, and live as long as the process: they may outlast the driver.
  thread_local std::map<int, Cublas*> handles;
  Cublas*& handle = handles[Device::Current().id];
  if (handle == nullptr) handle = new Cublas();
  return *handle;
}

void Cublas::Multiply(float alpha, const MatrixView& a, const MatrixView& b, float beta, Element out_element,
                      void* out, cudaStream_t stream, int64_t out_pitch) {
  const int64_t rows = a.transposed ? a.columns : a.rows, columns = b.transposed ? b.rows : b.columns;
  const int64_t reduction = a.transposed ? a.rows : a.columns;
  if (rows == 0 || columns == 0) return;
  if (out_pitch == 0) out_pitch = columns;
  if (reduction == 0) {
    if (beta == 0) {
      const auto bytes = [&](int64_t elements) { return static_cast<size_t>(elements * SizeOf(out_element)); };
      Check(cudaMemset2DAsync(out, bytes(out_pitch), 0, bytes(columns), static_cast<size_t>(rows), stream),
            "cudaMemset2DAsync");
    }
    return;
  }
  CheckCublas(Load().set_stream(handle_, stream), "cublasSetStream");
  CheckCublas(
      Load().gemm(handle_, b.transposed ? kTranspose : kNoTranspose, a.transposed ? kTranspose : kNoTranspose,
                  static_cast<int>(columns), static_cast<int>(rows), static_cast<int>(reduction), &alpha,
                  b.data, TypeOf(b.element), PitchOf(b), a.data, TypeOf(a.element), PitchOf(a), &beta, out,
                  TypeOf(out_element), static_cast<int>(out_pitch),
                  kComputeFloat, kDefaultAlgorithm),
      "cublasGemmEx");
}

}  // namespace ortqlora::cuda

#include "ops/lora_linear/cuda/lora_linear_cuda.h"

#include "common/cuda/check.h"
#include "common/cuda/convert_elements.h"
#include "common/cuda/cublas.h"

namespace ortqlora::cuda {
namespace {

constexpr int64_t kAlignment = 256;

int64_t Aligned(int64_t bytes) { return RoundUp(bytes, kAlignment); }

// The parts of the workspace: the int8 product's, A and B in the activations' element, and dh.
struct Parts {
  int64_t a, b, dh, size;

  Parts(const DeviceLoraCall& call, const GemmPlan& plan) {
    const int64_t element = SizeOf(call.base.element);
    const bool converts = call.base.element != Element::kFloat;
    a = Aligned(plan.workspace());
    b = a + (converts ? Aligned(call.rank * call.base.weight.k * element) : 0);
    dh = b + (converts ? Aligned(call.rank * call.base.weight.n * element) : 0);
    size = dh + Aligned(call.rank * call.base.rows * element);
  }
};

// A factor of the branch in the activations' element.
MatrixView Factor(Element element, const float* data, int64_t rows, int64_t columns, void* converted,
                  cudaStream_t stream) {
  if (element == Element::kFloat) return {element, data, rows, columns};
  LaunchConvert(Element::kFloat, data, element, converted, rows * columns, stream);
  return {element, converted, rows, columns};
}

MatrixView Transposed(MatrixView matrix) {
  matrix.transposed = !matrix.transposed;
  return matrix;
}

// Makes `out` begin at `start` and returns the factor by which a product keeps it.
float Begin(const float* start, float* out, int64_t count, cudaStream_t stream) {
  if (start == nullptr) return 0;
  if (start != out) {
    Check(cudaMemcpyAsync(out, start, static_cast<size_t>(count) * sizeof(float), cudaMemcpyDeviceToDevice,
                          stream),
          "cudaMemcpyAsync");
  }
  return 1;
}

// Whether the branch is the last steps of the int8 product, whose copies take rows of whole vectors of 16
// bytes.
bool FusesBranch(const DeviceLoraCall& call, const GemmPlan& plan, const void* narrow) {
  constexpr int64_t kVector = 8;
  return !call.separate && TakesBranch(call.base, plan) && call.rank > 0 && call.rank % kVector == 0 &&
         reinterpret_cast<uintptr_t>(narrow) % 16 == 0;
}

}  // namespace

int64_t LoraWorkspace(const DeviceLoraCall& call, const GemmPlan& plan) { return Parts(call, plan).size; }

void RunLoraForward(const DeviceLoraCall& call, const GemmPlan& plan, const Device& device, void* h,
                    void* workspace, cudaStream_t stream) {
  const Parts parts(call, plan);
  DeviceGemmCall base = call.base;
  auto* const memory = static_cast<char*>(workspace);
  Cublas& cublas = Cublas::Get();
  const MatrixView x{base.element, base.in, base.rows, base.weight.k};
  const MatrixView a = Factor(base.element, call.a, call.rank, base.weight.k, memory + parts.a, stream);
  cublas.Multiply(call.scaling, x, Transposed(a), 0, base.element, h, stream);
  if (FusesBranch(call, plan, h)) {
    base.branch = {h, call.b, call.rank};
    return RunGemm(base, plan, device, workspace, stream);
  }
  const MatrixView b = Factor(base.element, call.b, base.weight.n, call.rank, memory + parts.b, stream);
  RunGemm(base, plan, device, workspace, stream);
  cublas.Multiply(1, {base.element, h, base.rows, call.rank}, Transposed(b), 1, base.element, base.out,
                  stream);
}

void RunLoraBackward(const DeviceLoraCall& call, const GemmPlan& plan, const Device& device, const void* x,
                     const void* h, float* da, float* db, void* workspace, cudaStream_t stream) {
  const Parts parts(call, plan);
  DeviceGemmCall base = call.base;
  auto* const memory = static_cast<char*>(workspace);
  Cublas& cublas = Cublas::Get();
  const MatrixView dy{base.element, base.in, base.rows, base.weight.n};
  const MatrixView b = Factor(base.element, call.b, base.weight.n, call.rank, memory + parts.b, stream);
  const MatrixView dh{base.element, memory + parts.dh, base.rows, call.rank};
  cublas.Multiply(call.scaling, dy, b, 0, base.element, memory + parts.dh, stream);
  const float keep_a = Begin(call.da_start, da, call.rank * base.weight.k, stream);
  cublas.Multiply(1, Transposed(dh), {base.element, x, base.rows, base.weight.k}, keep_a, Element::kFloat, da,
                  stream);
  const float keep_b = Begin(call.db_start, db, call.rank * base.weight.n, stream);
  cublas.Multiply(1, Transposed(dy), {base.element, h, base.rows, call.rank}, keep_b, Element::kFloat, db,
                  stream);
  if (base.out == nullptr) return;
  if (FusesBranch(call, plan, dh.data)) {
    base.branch = {dh.data, call.a, call.rank};
    return RunGemm(base, plan, device, workspace, stream);
  }
  const MatrixView a = Factor(base.element, call.a, call.rank, base.weight.k, memory + parts.a, stream);
  RunGemm(base, plan, device, workspace, stream);
  cublas.Multiply(1, dh, a, 1, base.element, base.out, stream);
}

}  // namespace ortqlora::cuda

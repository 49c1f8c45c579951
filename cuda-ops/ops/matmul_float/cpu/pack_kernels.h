#pragma once

#include <cstddef>
#include <cstdint>

namespace ortqlora {

// How one CPU path brings fp32 matrices into the form that its tile kernels read (gemm_kernels.h): dwords
// that hold 1 fp32 or 2 bf16 elements of the reduction.

// out[row][steps] from in[row * row_stride + element * element_stride] * factor; a missing second half of the
// last dword is 0. Rows start `out_stride` bytes apart.
struct PackRowsCall {
  const float* in;
  int64_t row_stride;
  int64_t element_stride;
  int64_t rows;
  int64_t reduction;
  float factor;
  std::byte* out;
  int64_t out_stride;
};

// A panel from in[element * element_stride + column * column_stride]. The 16 dwords of (16 columns, step) go
// to out + granule * granule_stride + step * step_stride; columns up to the next multiple of 16 are 0.
struct PackPanelCall {
  const float* in;
  int64_t element_stride;
  int64_t column_stride;
  int64_t reduction;
  int64_t columns;
  std::byte* out;
  int64_t granule_stride;
  int64_t step_stride;
};

struct PackKernels {
  void (*rows)(const PackRowsCall&);
  void (*panel)(const PackPanelCall&);
};

// fp32 dwords; the second with elements rounded to bf16, for paths without bf16 instructions.
const PackKernels& PortableFloatPacking();
const PackKernels& PortableRoundedPacking();

const PackKernels& Avx512FloatPacking();
const PackKernels& Avx512RoundedPacking();
const PackKernels& Avx512Bf16Packing();

}  // namespace ortqlora

#pragma once

#include <cstddef>
#include <cstdint>

#include "common/parallel.h"
#include "ops/matmul_int8/cpu/gemm_kernels.h"
#include "ops/matmul_int8/gemm.h"

namespace ortqlora {

// How a Gemm turns rows of activations into its kernels' operand.
struct RowConversion {
  RowFormat format;
  const RowKernels* kernels;
  int64_t chunk;    // as in GemmKernels
  Compute compute;  // resolved: what the rows are rounded to
};

// A block of converted rows: [rows][stride] bytes, a scale each, and where each sum of a chunk starts.
// The memory belongs to the calling thread and is reused by its next block.
class ActivationRows {
 public:
  // Rows [first, first + rows) of the call's input, zero-padded to `reduction` elements.
  ActivationRows(const RowConversion& conversion, const GemmCall& call, int64_t reduction, int64_t first,
                 int64_t rows, Parallel& parallel);

  // Bytes from one row to the next.
  static int64_t Stride(RowFormat format, int64_t reduction);

  int64_t rows() const { return rows_; }
  const std::byte* data(int64_t row) const { return data_ + row * stride_; }
  const float* scale(int64_t row) const { return scale_ + row; }
  const int32_t* init(int64_t chunk, int64_t row) const { return init_ + chunk * rows_ + row; }

 private:
  void ConvertRow(const GemmCall& call, int64_t source_row, int64_t row) const;
  void Quantize(const float* in, int64_t row) const;

  const RowConversion& conversion_;
  int64_t count_;  // elements of an input row
  int64_t rows_;
  int64_t stride_;
  int64_t chunks_;
  std::byte* data_;
  float* scale_;
  int32_t* init_;
};

// Memory of the calling thread that stays allocated between calls; contents last until its next use.
std::byte* TaskScratch(size_t bytes);

}  // namespace ortqlora

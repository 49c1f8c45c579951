#pragma once

#include <cstddef>
#include <cstdint>

#include "common/cpu_path.h"
#include "ops/matmul_float/cpu/pack_kernels.h"
#include "ops/matmul_int8/cpu/gemm_kernels.h"
#include "ops/matmul_int8/gemm.h"

namespace ortqlora {

// A matrix of fp32 in memory: element (i, j) at data[i * row_stride + j * column_stride]. One stride is 1.
struct MatrixView {
  const float* data;
  int64_t row_stride;
  int64_t column_stride;

  MatrixView Transposed() const { return {data, column_stride, row_stride}; }
  MatrixView Rows(int64_t first) const { return {data + first * row_stride, row_stride, column_stride}; }
  MatrixView Columns(int64_t first) const {
    return {data + first * column_stride, row_stride, column_stride};
  }
};

inline MatrixView RowMajor(const float* data, int64_t columns) { return {data, columns, 1}; }

// Products of two fp32 matrices on the tile kernels of the int8 products, in parts that a kernel puts
// together as its caches ask for: rows of the left operand and panels of 64 columns of the right one are
// packed, then multiplied. In modes bf16 and int8 both operands are rounded to bf16, in the others they stay
// fp32; sums are fp32. One task's work: no threads in here.
class FloatProduct {
 public:
  static constexpr int64_t kPanel = 64;

  FloatProduct(CpuPath path, Compute compute);

  // Rows a tile takes: blocks of rows are best a multiple of it.
  int64_t tile_rows() const { return kernels_->tile_rows; }

  // Packed rows as the tail of another product's tiles, against a panel of the same reduction.
  TileTail Tail(const std::byte* rows, const std::byte* panel, int64_t reduction) const;

  int64_t RowBytes(int64_t reduction) const;
  // rows x reduction elements of `a`, times factor.
  void PackRows(const MatrixView& a, int64_t rows, int64_t reduction, float factor, std::byte* out) const;

  // Bytes from one panel to the next.
  int64_t PanelBytes(int64_t reduction) const;
  // Columns [0, columns) of `b`, at most 64.
  void PackPanel(const MatrixView& b, int64_t reduction, int64_t columns, std::byte* out) const;

  // out[r, c] = sum of rows and panel (+ bias[c]), or added to out. Columns are those packed.
  struct Call {
    const std::byte* rows;
    int64_t row_count;
    const std::byte* panel;
    int64_t reduction;
    int64_t columns;
    float* out;
    int64_t out_stride;
    bool accumulate = false;
    int64_t row_bytes = 0;  // from row to row, where rows were not packed by PackRows; 0: RowBytes
  };
  void Multiply(const Call& call) const;

 private:
  int64_t Steps(int64_t reduction) const;
  // Bytes from one granule of 16 columns to the next, and from step to step.
  void PanelStrides(int64_t reduction, int64_t columns, int64_t& granule, int64_t& step) const;

  const GemmKernels* kernels_;
  const PackKernels* packing_;
};

}  // namespace ortqlora

#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

namespace ortqlora {

// The contract between the driver (gemm.cc) and the kernels of one CPU path. A kernel computes on "steps" of
// four bytes: one row and one column each give 1 fp32, 2 bf16, 2 int16 or 4 int8 values of the reduction,
// and a dot instruction multiplies and adds them. So one tile shape serves all number formats:
//
//   rows   [row][steps] dwords, row-major, row_stride bytes apart
//   panel  [steps][columns] dwords, columns = 16 * the `granules` a kernel is made for
//
// Columns are padded to multiples of 16, rows never: there is a kernel for each height.

// A second product of few steps, added to a finished tile before it is stored: rows and panel as above, in
// fp32 or in bf16.
struct TileTail {
  const std::byte* rows;
  int64_t row_stride;
  const std::byte* panel;
  int64_t steps;  // 0: none
  bool is_bf16;
};

struct TileCall {
  const std::byte* rows;
  int64_t row_stride;
  const void* panel;
  int64_t steps;
  float* out;
  int64_t out_stride;  // floats
  // Per row: what the sum starts from (int8 only, see RowKernels::quantize_int8), and its scale.
  const int32_t* row_init;
  const float* row_scale;
  // Per column of this tile; bias may be null.
  const float* column_scale;
  const float* bias;
  // A long reduction is cut into chunks: all but the first add to `out`, the last one applies the scales.
  bool first_chunk;
  bool last_chunk;
  // Only where GemmKernels::takes_tail, and in the last chunk.
  TileTail tail;
};

// Fills a scratch panel from stored bytes (packed_weight.h).
struct UnpackCall {
  // Forward: a stored panel from its first k-quad on; `reduction` k of it, `outputs` columns.
  // Gradient: the first stored panel of the reduction, panels panel_stride bytes apart; `reduction` columns,
  // `outputs` k from k = first_output on. All are multiples of 16, and panels but the last are 64 wide.
  const uint8_t* weight;
  int64_t panel_stride;
  int64_t first_output;
  int64_t reduction;
  int64_t outputs;
  // Where the 16 dwords of (16 outputs, step) go: panel + granule * granule_stride + step * step_stride.
  std::byte* panel;
  int64_t granule_stride;
  int64_t step_stride;
};

// Gradient straight from stored bytes, for few rows; the fields are those of UnpackCall.
struct DirectGradientCall {
  TileCall tile;  // panel and steps unused
  const uint8_t* weight;
  int64_t panel_stride;
  int64_t first_output;
  int64_t reduction;
  int64_t outputs;
};

constexpr int kMaxTileRows = 6;
constexpr int kMaxGranules = 4;
constexpr int kMaxDirectRows = 4;
// Rows of the kernel for one granule alone, where six rows would leave the dot units waiting for sums.
constexpr int kTallTileRows = 12;

using TileKernel = void (*)(const TileCall&);
using DirectGradientKernel = void (*)(const DirectGradientCall&);

enum class RowFormat { kFloat, kBf16, kInt16, kInt8 };

constexpr int kAlwaysDirect = std::numeric_limits<int>::max();

struct GemmKernels {
  RowFormat format;
  int tile_rows;
  int granules;   // of 16 columns that a tile kernel takes at most
  int64_t chunk;  // reduction elements whose sum cannot overflow and whose scratch panel stays in L2
  TileKernel tile[kMaxTileRows][kMaxGranules];
  bool takes_tail;
  TileKernel tall_tile;  // kTallTileRows rows of one granule; null where the path has none
  // Null for forward where it is always direct, or the stored bytes are the tile kernels' operand as they
  // are.
  void (*unpack_forward)(const UnpackCall&);
  void (*unpack_gradient)(const UnpackCall&);
  // Kernels that convert in registers, without scratch: worth it up to direct_*_rows rows in a call
  // (measured; a cheap conversion hides behind the dot instructions of four rows and then wins at any
  // height).
  int direct_forward_rows;
  int direct_gradient_rows;
  TileKernel direct_forward[kMaxDirectRows][kMaxGranules];  // panel and steps: stored bytes, k-quads
  DirectGradientKernel direct_gradient[kMaxDirectRows];
};

constexpr int64_t ElementsPerStep(RowFormat format) {
  return format == RowFormat::kFloat ? 1 : format == RowFormat::kInt8 ? 4 : 2;
}

// Conversions of one row of activations.
struct RowKernels {
  void (*half_to_float)(const uint16_t* in, int64_t count, float* out);
  void (*float_to_half)(const float* in, int64_t count, uint16_t* out);
  void (*multiply)(const float* a, const float* b, int64_t count, float* out);
  // Bits of the largest magnitude. Any NaN compares above infinity, so one integer maximum finds both.
  uint32_t (*max_magnitude_bits)(const float* in, int64_t count);
  // Rounds in * factor to integers, which the caller keeps within the type; rows are finite. Null, as the two
  // below, where no kernel of the path takes such rows.
  void (*quantize_int16)(const float* in, int64_t count, float factor, int16_t* out);
  // Returns the sum of what it wrote: stored weights are q
  // + 128, so the row's sum starts from -128 times it.
  int32_t (*quantize_int8)(const float* in, int64_t count, float factor, int8_t* out);
  void (*to_bf16)(const float* in, int64_t count, uint16_t* out);
};

const RowKernels& PortableRowKernels();
const GemmKernels& PortableKernels();

const RowKernels& Avx2RowKernels();
const GemmKernels& Avx2FloatKernels();
const GemmKernels& Avx2Int16Kernels();

const RowKernels& Avx512RowKernels();
const GemmKernels& Avx512FloatKernels();
const GemmKernels& Avx512Int16Kernels();
const GemmKernels& Avx512VnniInt16Kernels();
const GemmKernels& Avx512VnniInt8Kernels();
const GemmKernels& Avx512Bf16Kernels();

}  // namespace ortqlora

// The fallback of last resort: plain loops over 16 columns of fp32 that any compiler turns into vector code
// of its target. The integer modes run on it too, their rows being whole numbers in fp32.

#include "ops/matmul_int8/cpu/gemm_kernels.h"

namespace ortqlora {
namespace {

constexpr int kColumns = 16;

template <int Rows>
void Tile(const TileCall& call) {
  float sum[Rows][kColumns] = {};
  const auto* panel = static_cast<const float*>(call.panel);
  const float* row[Rows];
  for (int r = 0; r < Rows; ++r) row[r] = reinterpret_cast<const float*>(call.rows + r * call.row_stride);
  for (int64_t s = 0; s < call.steps; ++s) {
    for (int r = 0; r < Rows; ++r) {
      for (int c = 0; c < kColumns; ++c) sum[r][c] += row[r][s] * panel[c];
    }
    panel += kColumns;
  }
  for (int r = 0; r < Rows; ++r) {
    float* out = call.out + r * call.out_stride;
    for (int c = 0; c < kColumns; ++c) {
      float value = sum[r][c];
      if (!call.first_chunk) value += out[c];
      if (call.last_chunk) value *= call.row_scale[r] * call.column_scale[c];
      if (call.last_chunk && call.bias != nullptr) value += call.bias[c];
      out[c] = value;
    }
  }
}

// One step of 16 outputs from bytes `stride` apart.
void Widen(const uint8_t* stored, int64_t stride, std::byte* step) {
  auto* out = reinterpret_cast<float*>(step);
  for (int c = 0; c < kColumns; ++c) out[c] = static_cast<float>(static_cast<int>(stored[c * stride]) - 128);
}

void UnpackForward(const UnpackCall& call) {
  for (int64_t k = 0; k < call.reduction; ++k) {
    const uint8_t* quad = call.weight + k / 4 * 4 * call.outputs + k % 4;
    for (int64_t n = 0; n < call.outputs; n += kColumns) {
      Widen(quad + 4 * n, 4, call.panel + n / kColumns * call.granule_stride + k * call.step_stride);
    }
  }
}

// Outputs are k here: four neighbours are one dword, the next four a k-quad further on.
void UnpackGradient(const UnpackCall& call) {
  for (int64_t n = 0; n < call.reduction; ++n) {
    const int64_t left = call.reduction - n / 64 * 64;
    const int64_t width = left < 64 ? left : 64;
    const uint8_t* column = call.weight + n / 64 * call.panel_stride + call.first_output * width + n % 64 * 4;
    for (int64_t k = 0; k < call.outputs; k += kColumns) {
      uint8_t bytes[kColumns];
      for (int i = 0; i < kColumns; ++i) bytes[i] = column[(k + i / 4 * 4) * width + i % 4];
      Widen(bytes, 1, call.panel + k / kColumns * call.granule_stride + n * call.step_stride);
    }
  }
}

constexpr GemmKernels MakeKernels() {
  GemmKernels kernels{};
  kernels.format = RowFormat::kFloat;
  kernels.chunk = 512;
  kernels.tile_rows = 4;
  kernels.granules = 1;
  kernels.tile[0][0] = Tile<1>;
  kernels.tile[1][0] = Tile<2>;
  kernels.tile[2][0] = Tile<3>;
  kernels.tile[3][0] = Tile<4>;
  kernels.unpack_forward = UnpackForward;
  kernels.unpack_gradient = UnpackGradient;
  return kernels;
}

}  // namespace

const GemmKernels& PortableKernels() {
  static constexpr GemmKernels kKernels = MakeKernels();
  return kKernels;
}

}  // namespace ortqlora

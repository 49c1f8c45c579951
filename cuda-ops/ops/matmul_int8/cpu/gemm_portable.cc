// The reference for every other path and the fallback of last resort: plain loops over 16 columns that any
// compiler turns into vector code of its target.

#include <cstring>

#include "ops/matmul_int8/cpu/gemm_kernels.h"

namespace ortqlora {
namespace {

constexpr int kColumns = 16;

struct FloatDot {
  using Value = float;
  using Sum = float;
  static constexpr int kPerStep = 1;
};

struct Int16Dot {
  using Value = int16_t;
  using Sum = int32_t;
  static constexpr int kPerStep = 2;
};

template <class Dot, int Rows>
void Tile(const TileCall& call) {
  typename Dot::Sum sum[Rows][kColumns] = {};
  const auto* panel = static_cast<const typename Dot::Value*>(call.panel);
  const typename Dot::Value* row[Rows];
  for (int r = 0; r < Rows; ++r) {
    row[r] = reinterpret_cast<const typename Dot::Value*>(call.rows + r * call.row_stride);
  }
  for (int64_t s = 0; s < call.steps; ++s) {
    for (int r = 0; r < Rows; ++r) {
      for (int c = 0; c < kColumns; ++c) {
        for (int i = 0; i < Dot::kPerStep; ++i) sum[r][c] += row[r][i] * panel[c * Dot::kPerStep + i];
      }
      row[r] += Dot::kPerStep;
    }
    panel += kColumns * Dot::kPerStep;
  }
  for (int r = 0; r < Rows; ++r) {
    float* out = call.out + r * call.out_stride;
    for (int c = 0; c < kColumns; ++c) {
      auto value = static_cast<float>(sum[r][c]);
      if (!call.first_chunk) value += out[c];
      if (call.last_chunk) value *= call.row_scale[r] * call.column_scale[c];
      if (call.last_chunk && call.bias != nullptr) value += call.bias[c];
      out[c] = value;
    }
  }
}

// Element `i` of the reduction for output `o`: dword of its step, place inside the dword.
template <class Dot>
void Put(const UnpackCall& call, int64_t o, int64_t i, uint8_t stored) {
  std::byte* dwords = call.panel + o / kColumns * call.granule_stride + i / Dot::kPerStep * call.step_stride;
  const auto value = static_cast<typename Dot::Value>(static_cast<int>(stored) - 128);
  std::memcpy(dwords + (o % kColumns * Dot::kPerStep + i % Dot::kPerStep) * sizeof value, &value,
              sizeof value);
}

template <class Dot>
void UnpackForward(const UnpackCall& call) {
  for (int64_t k = 0; k < call.reduction; ++k) {
    for (int64_t n = 0; n < call.outputs; ++n) {
      Put<Dot>(call, n, k, call.weight[(k / 4 * call.outputs + n) * 4 + k % 4]);
    }
  }
}

template <class Dot>
void UnpackGradient(const UnpackCall& call) {
  for (int64_t n = 0; n < call.reduction; ++n) {
    const int64_t left = call.reduction - n / 64 * 64;
    const int64_t width = left < 64 ? left : 64;
    const uint8_t* panel = call.weight + n / 64 * call.panel_stride + call.first_output * width;
    for (int64_t k = 0; k < call.outputs; ++k) {
      Put<Dot>(call, k, n, panel[(k / 4 * width + n % 64) * 4 + k % 4]);
    }
  }
}

template <class Dot>
constexpr GemmKernels MakeKernels(RowFormat format, int64_t chunk) {
  GemmKernels kernels{};
  kernels.format = format;
  kernels.chunk = chunk;
  kernels.tile_rows = 4;
  kernels.granules = 1;
  kernels.tile[0][0] = Tile<Dot, 1>;
  kernels.tile[1][0] = Tile<Dot, 2>;
  kernels.tile[2][0] = Tile<Dot, 3>;
  kernels.tile[3][0] = Tile<Dot, 4>;
  kernels.unpack_forward = UnpackForward<Dot>;
  kernels.unpack_gradient = UnpackGradient<Dot>;
  return kernels;
}

}  // namespace

const GemmKernels& PortableFloatKernels() {
  static constexpr GemmKernels kKernels = MakeKernels<FloatDot>(RowFormat::kFloat, 512);
  return kKernels;
}

const GemmKernels& PortableInt16Kernels() {
  static constexpr GemmKernels kKernels = MakeKernels<Int16Dot>(RowFormat::kInt16, 2048);
  return kKernels;
}

}  // namespace ortqlora

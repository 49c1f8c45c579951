#include "ops/matmul_float/float_product.h"

#include <algorithm>

#include "ops/matmul_int8/packed_weight.h"

namespace ortqlora {
namespace {

// Row starts a power of two apart would all fall into the same few cache sets.
constexpr int64_t kRowPadding = 64;

constexpr int64_t kMaxBufferedRows = std::max(kMaxTileRows, kTallTileRows);

struct Ones {
  float value[FloatProduct::kPanel];
  constexpr Ones() : value() {
    for (float& one : value) one = 1.0f;
  }
};
constexpr Ones kOnes;
constexpr int32_t kNoStart[kTallTileRows] = {};

bool IsRounded(Compute compute) { return compute == Compute::kBf16 || compute == Compute::kInt8; }

const GemmKernels& KernelsOf([[maybe_unused]] CpuPath path, [[maybe_unused]] Compute compute) {
#if defined(ORTQLORA_X86)
  if (path >= CpuPath::kAvx512Bf16 && IsRounded(compute)) return Avx512Bf16Kernels();
  if (path >= CpuPath::kAvx512) return Avx512FloatKernels();
  if (path >= CpuPath::kAvx2) return Avx2FloatKernels();
#endif
  return PortableKernels();
}

const PackKernels& PackingOf([[maybe_unused]] CpuPath path, Compute compute) {
#if defined(ORTQLORA_X86)
  if (path >= CpuPath::kAvx512Bf16 && IsRounded(compute)) return Avx512Bf16Packing();
  if (path >= CpuPath::kAvx512) return IsRounded(compute) ? Avx512RoundedPacking() : Avx512FloatPacking();
#endif
  return IsRounded(compute) ? PortableRoundedPacking() : PortableFloatPacking();
}

}  // namespace

FloatProduct::FloatProduct(CpuPath path, Compute compute)
    : kernels_(&KernelsOf(path, compute)), packing_(&PackingOf(path, compute)) {}

int64_t FloatProduct::Steps(int64_t reduction) const {
  const int64_t elements = ElementsPerStep(kernels_->format);
  return (reduction + elements - 1) / elements;
}

int64_t FloatProduct::RowBytes(int64_t reduction) const {
  return RoundUp(Steps(reduction) * 4, 64) + kRowPadding;
}

TileTail FloatProduct::Tail(const std::byte* rows, const std::byte* panel, int64_t reduction) const {
  return {rows, RowBytes(reduction), panel, Steps(reduction), kernels_->format == RowFormat::kBf16};
}

void FloatProduct::PackRows(const MatrixView& a, int64_t rows, int64_t reduction, float factor,
                            std::byte* out) const {
  packing_->rows({a.data, a.row_stride, a.column_stride, rows, reduction, factor, out, RowBytes(reduction)});
}

int64_t FloatProduct::PanelBytes(int64_t reduction) const { return Steps(reduction) * kPanel * 4; }

void FloatProduct::PanelStrides(int64_t reduction, int64_t columns, int64_t& granule, int64_t& step) const {
  if (kernels_->granules == 1) {
    granule = Steps(reduction) * 64;
    step = 64;
  } else {
    granule = 64;
    step = RoundUp(columns, PackedWeight::kGranule) * 4;
  }
}

void FloatProduct::PackPanel(const MatrixView& b, int64_t reduction, int64_t columns, std::byte* out) const {
  PackPanelCall call{b.data, b.row_stride, b.column_stride, reduction, columns, out, 0, 0};
  PanelStrides(reduction, columns, call.granule_stride, call.step_stride);
  packing_->panel(call);
}

void FloatProduct::Multiply(const Call& call) const {
  const int64_t padded = RoundUp(call.columns, PackedWeight::kGranule);
  const int64_t group = std::min<int64_t>(padded, kernels_->granules * PackedWeight::kGranule);
  const int64_t steps = Steps(call.reduction);
  const int64_t row_bytes = call.row_bytes != 0 ? call.row_bytes : RowBytes(call.reduction);
  const int64_t most = kernels_->chunk / ElementsPerStep(kernels_->format);
  for (int64_t column = 0; column < padded; column += group) {
    // Tiles write whole vectors: what goes past the last column passes through a buffer.
    const bool buffered = column + group > call.columns;
    alignas(64) float buffer[kMaxBufferedRows * kPanel];
    const bool is_narrow = group == PackedWeight::kGranule && kernels_->tall_tile != nullptr;
    for (int64_t first = 0; first == 0 || first < steps; first += most) {
      const int64_t count = std::min(most, steps - first);
      for (int64_t row = 0, height = 0; row < call.row_count; row += height) {
        const bool tall = is_narrow && call.row_count - row >= kTallTileRows;
        height = tall ? kTallTileRows : std::min<int64_t>(kernels_->tile_rows, call.row_count - row);
        float* out = call.out + row * call.out_stride + column;
        const bool adds = call.accumulate || first > 0;
        TileCall tile{};
        tile.rows = call.rows + row * row_bytes + first * 4;
        tile.row_stride = row_bytes;
        tile.panel = call.panel + column * steps * 4 + first * group * 4;
        tile.steps = count;
        tile.out = buffered ? buffer : out;
        tile.out_stride = buffered ? kPanel : call.out_stride;
        tile.row_init = kNoStart;
        tile.row_scale = kOnes.value;
        tile.column_scale = kOnes.value;
        tile.first_chunk = buffered || !adds;
        tile.last_chunk = true;
        (tall ? kernels_->tall_tile : kernels_->tile[height - 1][group / PackedWeight::kGranule - 1])(tile);
        if (!buffered) continue;
        const int64_t used = call.columns - column;
        for (int64_t r = 0; r < height; ++r) {
          for (int64_t c = 0; c < used; ++c) {
            float& value = out[r * call.out_stride + c];
            value = adds ? value + buffer[r * kPanel + c] : buffer[r * kPanel + c];
          }
        }
      }
    }
  }
}

}  // namespace ortqlora

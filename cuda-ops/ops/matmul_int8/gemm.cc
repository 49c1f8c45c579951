#include "ops/matmul_int8/gemm.h"

#include <algorithm>
#include <vector>

#include "common/error.h"
#include "ops/matmul_int8/activation_rows.h"
#include "ops/matmul_int8/cpu/gemm_kernels.h"

namespace ortqlora {
namespace {

// Converted rows are kept for a block of rows at a time: about this many bytes stay in a shared L3 and
// bound the memory of a call, while panels are unpacked again for each block.
constexpr int64_t kRowBlockBytes = int64_t{4} << 20;
// Below this many multiplications waking another thread costs more than it saves.
constexpr int64_t kSerialProducts = int64_t{1} << 17;
// Tasks wanted for an even split, and the height below which unpacking a panel again costs too much.
constexpr int64_t kWantedTasks = 16;
constexpr int64_t kMinTaskRows = 192;

Compute Resolve(CpuPath path, Compute compute) {
  if (compute != Compute::kAuto) return compute;
  return path == CpuPath::kPortable ? Compute::kFp32 : Compute::kInt16;
}

const RowKernels& RowKernelsOf([[maybe_unused]] CpuPath path) {
#if defined(ORTQLORA_X86)
  if (path >= CpuPath::kAvx512) return Avx512RowKernels();
  if (path >= CpuPath::kAvx2) return Avx2RowKernels();
#endif
  return PortableRowKernels();
}

// The best kernels of a path for a way of forming products. Where a path lacks the instruction, bf16 runs on
// fp32 and int8 on int16 instructions, and on the portable path all on fp32: slower, the same rows.
const GemmKernels& GemmKernelsOf([[maybe_unused]] CpuPath path, [[maybe_unused]] Compute compute) {
  [[maybe_unused]] const bool integer = compute == Compute::kInt16 || compute == Compute::kInt8;
#if defined(ORTQLORA_X86)
  if (path >= CpuPath::kAvx512Bf16 && compute == Compute::kBf16) return Avx512Bf16Kernels();
  if (path >= CpuPath::kAvx512Vnni && compute == Compute::kInt8) return Avx512VnniInt8Kernels();
  if (path >= CpuPath::kAvx512Vnni && compute == Compute::kInt16) return Avx512VnniInt16Kernels();
  if (path >= CpuPath::kAvx512) return integer ? Avx512Int16Kernels() : Avx512FloatKernels();
  if (path >= CpuPath::kAvx2) return integer ? Avx2Int16Kernels() : Avx2FloatKernels();
#endif
  return PortableKernels();
}

// One call, taken apart: rows are converted a block at a time, then each task multiplies its share of the
// block's rows with one panel of 64 outputs.
class Plan {
 public:
  Plan(const GemmKernels& kernels, const RowConversion& conversion, const GemmCall& call)
      : kernels_(kernels),
        conversion_(conversion),
        call_(call),
        weight_(*call.weight),
        forward_(call.direction == Direction::kForward),
        outputs_(forward_ ? weight_.n() : weight_.k()),
        padded_outputs_(forward_ ? weight_.padded_n() : weight_.padded_k()),
        reduction_(forward_ ? weight_.padded_k() : weight_.padded_n()),
        direct_(call.rows <= (forward_ ? kernels.direct_forward_rows : kernels.direct_gradient_rows)),
        stored_bytes_serve_(forward_ && kernels.unpack_forward == nullptr) {
    PadColumns();
  }

  void Run(Parallel& parallel) const {
    if (call_.rows == 0 || outputs_ == 0) return;
    const int64_t stride = ActivationRows::Stride(kernels_.format, reduction_);
    const int64_t most = std::max<int64_t>(kMinTaskRows, kRowBlockBytes / stride);
    const int64_t blocks = (call_.rows + most - 1) / most;
    const int64_t multiple =
        call_.observer == nullptr ? kernels_.tile_rows : kernels_.tile_rows * call_.observer->task_rows();
    const int64_t block = RoundUp((call_.rows + blocks - 1) / blocks, multiple);
    for (int64_t first = 0; first < call_.rows; first += block) {
      RunBlock(first, std::min(block, call_.rows - first), parallel);
    }
  }

 private:
  // Kernels read scales and bias in whole vectors, up to the end of a padded panel.
  void PadColumns() {
    const auto padded = static_cast<size_t>(padded_outputs_);
    const bool whole = padded_outputs_ == outputs_;
    scale_ = call_.scale;
    bias_ = call_.bias;
    if (!forward_ || !whole) {
      padded_scale_.assign(padded, 1.0f);
      if (forward_) std::copy_n(call_.scale, outputs_, padded_scale_.begin());
      scale_ = padded_scale_.data();
    }
    if (call_.bias != nullptr && !whole) {
      padded_bias_.assign(padded, 0.0f);
      std::copy_n(call_.bias, outputs_, padded_bias_.begin());
      bias_ = padded_bias_.data();
    }
  }

  void RunBlock(int64_t first, int64_t rows, Parallel& parallel) const {
    const ActivationRows activations(conversion_, call_, reduction_, first, rows, parallel);
    const int64_t panels = (padded_outputs_ + PackedWeight::kPanel - 1) / PackedWeight::kPanel;
    int64_t shares = 1;
    while (panels * shares < kWantedTasks && rows / (2 * shares) >= kMinTaskRows) shares *= 2;
    const int64_t share = RoundUp((rows + shares - 1) / shares, kernels_.tile_rows);

    Serial serial;
    const bool small = rows * reduction_ < kSerialProducts / padded_outputs_;
    (small ? serial : parallel).For(panels * shares, [&](int64_t task) {
      const int64_t begin = task % shares * share;
      if (begin < rows) RunPanel(activations, first, begin, std::min(rows, begin + share), task / shares);
    });
  }

  // Rows [begin, end) of the block times one panel of outputs.
  void RunPanel(const ActivationRows& activations, int64_t first, int64_t begin, int64_t end,
                int64_t panel) const {
    const int64_t column = panel * PackedWeight::kPanel;
    const int64_t columns = std::min(PackedWeight::kPanel, padded_outputs_ - column);
    const int64_t rows = end - begin;
    // Kernels write whole vectors of fp32: anything else goes through a buffer.
    const bool buffered = call_.element == Element::kHalf || column + columns > outputs_;
    const int64_t buffer_bytes = buffered ? rows * columns * int64_t{sizeof(float)} : 0;
    std::byte* scratch = TaskScratch(static_cast<size_t>(buffer_bytes + ScratchBytes(columns)));

    TileCall tile{};
    tile.row_stride = ActivationRows::Stride(kernels_.format, reduction_);
    tile.row_scale = activations.scale(begin);
    tile.column_scale = scale_ + column;
    tile.bias = bias_ == nullptr ? nullptr : bias_ + column;
    tile.out = reinterpret_cast<float*>(scratch);
    tile.out_stride = columns;
    if (!buffered) {
      tile.out = static_cast<float*>(call_.out) + (first + begin) * outputs_ + column;
      tile.out_stride = outputs_;
    }
    for (int64_t offset = 0; offset == 0 || offset < reduction_; offset += kernels_.chunk) {
      const int64_t reduction = std::min(kernels_.chunk, reduction_ - offset);
      tile.rows = activations.data(begin) + offset / ElementsPerStep(kernels_.format) * 4;
      tile.row_init = activations.init(offset / kernels_.chunk, begin);
      tile.first_chunk = offset == 0;
      tile.last_chunk = offset + reduction == reduction_;
      RunChunk(tile, first + begin, rows, column, columns, offset, reduction, scratch + buffer_bytes);
    }
    if (buffered) CopyOut(reinterpret_cast<const float*>(scratch), first + begin, rows, column, columns);
  }

  int64_t ScratchBytes(int64_t columns) const {
    if (direct_ || stored_bytes_serve_) return 0;
    return std::min(kernels_.chunk, reduction_) / ElementsPerStep(kernels_.format) * columns * 4;
  }

  // Adds the call's addend to `rows` rows of a panel, the first of which is row `first` of the call.
  void AddTo(const TileCall& tile, int64_t first, int64_t rows, int64_t column, int64_t columns) const {
    if (call_.addend == nullptr || !tile.last_chunk) return;
    call_.addend->Add(first, rows, column, columns, tile.out, tile.out_stride);
  }

  // Elements [offset, offset + reduction) of the reduction; `first` is the tile's first row in the call.
  void RunChunk(const TileCall& tile, int64_t first, int64_t rows, int64_t column, int64_t columns,
                int64_t offset, int64_t reduction, std::byte* scratch) const {
    const uint8_t* weight = weight_.panel((forward_ ? column : offset) / PackedWeight::kPanel);
    if (forward_) weight += offset * columns;
    if (direct_) {
      RunDirect(tile, rows, column, columns, weight, reduction);
      AddTo(tile, first, rows, column, columns);
      return;
    }
    const int64_t steps = reduction / ElementsPerStep(kernels_.format);
    const int64_t group = std::min<int64_t>(columns, kernels_.granules * PackedWeight::kGranule);
    const void* operand = weight;
    if (!stored_bytes_serve_) {
      const int64_t granule_stride = kernels_.granules == 1 ? steps * 64 : 64;
      const UnpackCall unpack{weight,         weight_.padded_k() * PackedWeight::kPanel,
                              column,         reduction,
                              columns,        scratch,
                              granule_stride, group * 4};
      (forward_ ? kernels_.unpack_forward : kernels_.unpack_gradient)(unpack);
      operand = scratch;
    }
    const bool with_tail =
        call_.addend != nullptr && tile.last_chunk && kernels_.takes_tail && group == columns;
    const TileTail tail = with_tail ? call_.addend->Tail(first, column) : TileTail{};
    for (int64_t c = 0; c < columns; c += group) {
      const auto* panel = static_cast<const std::byte*>(operand) + c * steps * 4;
      // Field by field: a copy of the whole call would wait for the stores of the tile before.
      TileCall part = Part(tile, 0, c);
      part.panel = panel;
      part.steps = steps;
      part.tail = tail;
      for (int64_t row = 0; row < rows; row += kernels_.tile_rows) {
        const int64_t height = std::min<int64_t>(kernels_.tile_rows, rows - row);
        kernels_.tile[height - 1][group / PackedWeight::kGranule - 1](part);
        part.rows += height * part.row_stride;
        part.row_scale += height;
        part.row_init += height;
        part.out += height * part.out_stride;
        part.tail.rows += height * tail.row_stride;
      }
    }
    if (!with_tail) AddTo(tile, first, rows, column, columns);
  }

  void RunDirect(const TileCall& tile, int64_t rows, int64_t column, int64_t columns, const uint8_t* weight,
                 int64_t reduction) const {
    const int64_t granules = columns / PackedWeight::kGranule;
    for (int64_t row = 0; row < rows; row += kMaxDirectRows) {
      const int64_t height = std::min<int64_t>(kMaxDirectRows, rows - row);
      TileCall part = Part(tile, row, 0);
      if (forward_) {
        part.panel = weight;
        part.steps = reduction / 4;
        kernels_.direct_forward[height - 1][granules - 1](part);
      } else {
        const DirectGradientCall call{part,   weight,    weight_.padded_k() * PackedWeight::kPanel,
                                      column, reduction, columns};
        kernels_.direct_gradient[height - 1](call);
      }
    }
  }

  // The tile that starts `row` rows and `column` columns further on.
  static TileCall Part(const TileCall& tile, int64_t row, int64_t column) {
    TileCall part = tile;
    part.rows += row * tile.row_stride;
    part.row_scale += row;
    part.row_init += row;
    part.out += row * tile.out_stride + column;
    part.column_scale += column;
    if (part.bias != nullptr) part.bias += column;
    return part;
  }

  void CopyOut(const float* buffer, int64_t row, int64_t rows, int64_t column, int64_t columns) const {
    const int64_t used = std::min(columns, outputs_ - column);
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t at = (row + r) * outputs_ + column;
      if (call_.element == Element::kHalf) {
        conversion_.kernels->float_to_half(buffer + r * columns, used,
                                           static_cast<uint16_t*>(call_.out) + at);
      } else {
        std::copy_n(buffer + r * columns, used, static_cast<float*>(call_.out) + at);
      }
    }
  }

  const GemmKernels& kernels_;
  const RowConversion& conversion_;
  const GemmCall& call_;
  const PackedWeight& weight_;
  const bool forward_;
  const int64_t outputs_;
  const int64_t padded_outputs_;
  const int64_t reduction_;
  const bool direct_;
  const bool stored_bytes_serve_;
  std::vector<float> padded_scale_;
  std::vector<float> padded_bias_;
  const float* scale_ = nullptr;
  const float* bias_ = nullptr;
};

}  // namespace

const char* ComputeName(Compute compute) {
  switch (compute) {
    case Compute::kAuto:
      return "auto";
    case Compute::kFp32:
      return "fp32";
    case Compute::kBf16:
      return "bf16";
    case Compute::kInt16:
      return "int16";
    case Compute::kInt8:
      return "int8";
  }
  return "unknown";
}

Compute ParseCompute(const std::string& name) {
  for (Compute compute : {Compute::kAuto, Compute::kFp32, Compute::kBf16, Compute::kInt16, Compute::kInt8}) {
    if (name == ComputeName(compute)) return compute;
  }
  Fail("attribute compute is '", name, "', expected 'auto', 'fp32', 'bf16', 'int16' or 'int8'.");
}

Int8Gemm::Int8Gemm(CpuPath path, Compute compute)
    : compute_(Resolve(path, compute)),
      kernels_(&GemmKernelsOf(path, compute_)),
      row_kernels_(&RowKernelsOf(path)) {}

void Int8Gemm::Run(const GemmCall& call, Parallel& parallel) const {
  const RowConversion conversion{kernels_->format, row_kernels_, kernels_->chunk, compute_};
  Plan(*kernels_, conversion, call).Run(parallel);
}

}  // namespace ortqlora

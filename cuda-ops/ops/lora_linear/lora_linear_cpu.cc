#include "ops/lora_linear/lora_linear_cpu.h"

#include <algorithm>

#include "common/scratch.h"

namespace ortqlora {
namespace {

constexpr int64_t kPanel = FloatProduct::kPanel;
// Rows of one task: a multiple of every tile height.
constexpr int64_t kTaskRows = 48;
// Rows whose panel is packed at a time where the reduction runs over rows: 64 columns of them stay in L2.
constexpr int64_t kReductionRows = 512;

int64_t Count(int64_t size, int64_t part) { return (size + part - 1) / part; }

struct CallScratch;
struct TaskScratchTag;

// Parts of one block of memory, handed out in cache lines.
class Layout {
 public:
  int64_t Take(int64_t bytes) {
    const int64_t at = size_;
    size_ += RoundUp(bytes, 64);
    return at;
  }
  std::byte* Reserve() const { return Scratch<CallScratch>(static_cast<size_t>(size_)); }

 private:
  int64_t size_ = 0;
};

// All panels of a matrix [reduction, columns].
struct Panels {
  const FloatProduct& product;
  MatrixView matrix;
  int64_t reduction;
  int64_t columns;
  std::byte* data = nullptr;

  int64_t count() const { return Count(columns, kPanel); }
  int64_t bytes() const { return count() * product.PanelBytes(reduction); }
  int64_t Width(int64_t panel) const { return std::min(kPanel, columns - panel * kPanel); }
  std::byte* Panel(int64_t panel) const { return data + panel * product.PanelBytes(reduction); }

  void Pack(int64_t panel) const {
    product.PackPanel(matrix.Columns(panel * kPanel), reduction, Width(panel), Panel(panel));
  }
};

// rows * panels, added to the base product's tiles.
class LowRankAddend final : public TileAddend {
 public:
  LowRankAddend(const Panels& panels, const std::byte* rows) : panels_(panels), rows_(rows) {}

  void Add(int64_t row, int64_t rows, int64_t column, int64_t, float* out,
           int64_t out_stride) const override {
    const int64_t panel = column / kPanel;
    if (column >= panels_.columns) return;
    const std::byte* packed = rows_ + row * panels_.product.RowBytes(panels_.reduction);
    panels_.product.Multiply(
        {packed, rows, panels_.Panel(panel), panels_.reduction, panels_.Width(panel), out, out_stride, true});
  }

 private:
  const Panels& panels_;
  const std::byte* rows_;
};

// narrow[rows, rank] = scaling * wide[rows, width] * panels, and the same packed as rows where `packed` is
// given.
void Narrow(const FloatProduct& product, const Panels& panels, const float* wide, int64_t rows, float scaling,
            float* narrow, std::byte* packed, Parallel& parallel) {
  const int64_t width = panels.reduction, rank = panels.columns;
  parallel.For(Count(rows, kTaskRows), [&](int64_t task) {
    const int64_t first = task * kTaskRows, count = std::min(kTaskRows, rows - first);
    const int64_t bytes = product.RowBytes(width);
    std::byte* in = Scratch<TaskScratchTag>(static_cast<size_t>(count * bytes));
    product.PackRows(RowMajor(wide, width).Rows(first), count, width, 1.0f, in);
    float* out = narrow + first * rank;
    for (int64_t panel = 0; panel < panels.count(); ++panel) {
      product.Multiply(
          {in, count, panels.Panel(panel), width, panels.Width(panel), out + panel * kPanel, rank});
    }
    for (int64_t i = 0; i < count * rank; ++i) out[i] *= scaling;
    if (packed == nullptr) return;
    product.PackRows(RowMajor(out, rank), count, rank, 1.0f, packed + first * product.RowBytes(rank));
  });
}

// narrow^T[rank, rows] * wide[rows, 64 columns from `column` on], for one task: out [rank][64].
void ReduceRows(const FloatProduct& product, const std::byte* narrow, int64_t rank, const float* wide,
                int64_t rows, int64_t width, int64_t column, float* out, std::byte* panel) {
  const int64_t columns = std::min(kPanel, width - column);
  const int64_t part_bytes = rank * product.RowBytes(kReductionRows);
  if (rows == 0) std::fill_n(out, rank * kPanel, 0.0f);
  for (int64_t first = 0; first < rows; first += kReductionRows) {
    const int64_t count = std::min(kReductionRows, rows - first);
    product.PackPanel(RowMajor(wide, width).Rows(first).Columns(column), count, columns, panel);
    product.Multiply(
        {narrow + first / kReductionRows * part_bytes, rank, panel, count, columns, out, kPanel, first > 0});
  }
}

// narrow [rows, rank] to rows of its transpose, in parts of kReductionRows, each as ReduceRows wants it.
void PackTransposed(const FloatProduct& product, const float* narrow, int64_t rows, int64_t rank,
                    int64_t part, std::byte* out) {
  const int64_t first = part * kReductionRows, count = std::min(kReductionRows, rows - first);
  product.PackRows(RowMajor(narrow, rank).Rows(first).Transposed(), rank, count, 1.0f,
                   out + part * rank * product.RowBytes(kReductionRows));
}

}  // namespace

void LoraLinearKernel::Forward(const LoraWeights& weights, const float* x, int64_t rows, const float* bias,
                               float* y, float* h, Parallel& parallel) const {
  const int64_t k = weights.weight->k(), n = weights.weight->n(), rank = weights.rank;
  Panels down{product_, RowMajor(weights.a, k).Transposed(), k, rank};
  Panels up{product_, RowMajor(weights.b, rank).Transposed(), rank, n};
  Layout layout;
  const int64_t down_at = layout.Take(down.bytes()), up_at = layout.Take(up.bytes());
  const int64_t rows_at = layout.Take(rows * product_.RowBytes(rank));
  std::byte* const memory = layout.Reserve();
  down.data = memory + down_at;
  up.data = memory + up_at;

  parallel.For(down.count() + up.count(),
               [&](int64_t task) { task < down.count() ? down.Pack(task) : up.Pack(task - down.count()); });
  Narrow(product_, down, x, rows, weights.scaling, h, memory + rows_at, parallel);

  const LowRankAddend addend(up, memory + rows_at);
  GemmCall call;
  call.weight = weights.weight;
  call.scale = weights.scale;
  call.bias = bias;
  call.in = x;
  call.out = y;
  call.rows = rows;
  call.addend = &addend;
  base_.Run(call, parallel);
}

void LoraLinearKernel::Backward(const LoraWeights& weights, const float* dy, const float* x, const float* h,
                                int64_t rows, float* da, float* db, float* dx, Parallel& parallel) const {
  const int64_t k = weights.weight->k(), n = weights.weight->n(), rank = weights.rank;
  const int64_t parts = Count(rows, kReductionRows), part_bytes = rank * product_.RowBytes(kReductionRows);
  Panels down{product_, RowMajor(weights.b, rank), n, rank};
  Panels up{product_, RowMajor(weights.a, k), rank, k};
  Layout layout;
  const int64_t down_at = layout.Take(down.bytes()), up_at = layout.Take(dx == nullptr ? 0 : up.bytes());
  const int64_t narrow_at = layout.Take(rows * rank * int64_t{sizeof(float)});
  const int64_t rows_at = layout.Take(dx == nullptr ? 0 : rows * product_.RowBytes(rank));
  const int64_t dh_at = layout.Take(parts * part_bytes), h_at = layout.Take(parts * part_bytes);
  std::byte* const memory = layout.Reserve();
  down.data = memory + down_at;
  up.data = memory + up_at;
  auto* const dh = reinterpret_cast<float*>(memory + narrow_at);
  std::byte* const packed = dx == nullptr ? nullptr : memory + rows_at;

  const int64_t up_count = dx == nullptr ? 0 : up.count();
  parallel.For(down.count() + up_count + parts, [&](int64_t task) {
    if (task < down.count()) return down.Pack(task);
    task -= down.count();
    if (task < up_count) return up.Pack(task);
    PackTransposed(product_, h, rows, rank, task - up_count, memory + h_at);
  });
  Narrow(product_, down, dy, rows, weights.scaling, dh, packed, parallel);
  parallel.For(parts, [&](int64_t part) { PackTransposed(product_, dh, rows, rank, part, memory + dh_at); });

  const int64_t a_tasks = Count(k, kPanel), b_tasks = Count(n, kPanel);
  parallel.For(a_tasks + b_tasks, [&](int64_t task) {
    const int64_t tile_bytes = RoundUp(rank * kPanel * int64_t{sizeof(float)}, 64);
    std::byte* const scratch = Scratch<TaskScratchTag>(
        static_cast<size_t>(tile_bytes + product_.PanelBytes(std::min(rows, kReductionRows))));
    auto* const tile = reinterpret_cast<float*>(scratch);
    if (task < a_tasks) {
      const int64_t column = task * kPanel, columns = std::min(kPanel, k - column);
      ReduceRows(product_, memory + dh_at, rank, x, rows, k, column, tile, scratch + tile_bytes);
      for (int64_t r = 0; r < rank; ++r) std::copy_n(tile + r * kPanel, columns, da + r * k + column);
    } else {
      const int64_t column = (task - a_tasks) * kPanel, columns = std::min(kPanel, n - column);
      ReduceRows(product_, memory + h_at, rank, dy, rows, n, column, tile, scratch + tile_bytes);
      for (int64_t c = 0; c < columns; ++c) {
        for (int64_t r = 0; r < rank; ++r) db[(column + c) * rank + r] = tile[r * kPanel + c];
      }
    }
  });

  if (dx == nullptr) return;
  const LowRankAddend addend(up, packed);
  GemmCall call;
  call.direction = Direction::kGradient;
  call.weight = weights.weight;
  call.scale = weights.scale;
  call.in = dy;
  call.out = dx;
  call.rows = rows;
  call.addend = &addend;
  base_.Run(call, parallel);
}

}  // namespace ortqlora

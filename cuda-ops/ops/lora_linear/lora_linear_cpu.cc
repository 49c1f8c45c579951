#include "ops/lora_linear/lora_linear_cpu.h"

#include <algorithm>

#include "common/scratch.h"

namespace ortqlora {
namespace {

constexpr int64_t kPanel = FloatProduct::kPanel;
// Sums over rows are split into at most this many parts, which are added at the end: parts depend on the
// number of rows alone, so that results do not depend on that of threads.
constexpr int64_t kParts = 8;

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
    panels_.product.Multiply({Row(row), rows, panels_.Panel(panel), panels_.reduction, panels_.Width(panel),
                              out, out_stride, true});
  }

  TileTail Tail(int64_t row, int64_t column) const override {
    if (column >= panels_.columns) return {};
    return panels_.product.Tail(Row(row), panels_.Panel(column / kPanel), panels_.reduction);
  }

 private:
  const std::byte* Row(int64_t row) const {
    return rows_ + row * panels_.product.RowBytes(panels_.reduction);
  }

  const Panels& panels_;
  const std::byte* rows_;
};

// narrow[rows, rank] = scaling * wide[rows, width] * panels, and the same packed as rows where `packed` is
// given. Sees the rows while the base product converts them, so that they come from memory once.
class Narrow : public RowObserver {
 public:
  Narrow(const FloatProduct& product, const Panels& panels, const float* wide, float scaling, float* narrow,
         std::byte* packed)
      : product_(product),
        panels_(panels),
        wide_(wide),
        scaling_(scaling),
        narrow_(narrow),
        packed_(packed) {}

  void See(int64_t first, int64_t rows, const std::byte* converted, int64_t stride) const override {
    const int64_t width = panels_.reduction, rank = panels_.columns;
    if (converted == nullptr) {
      stride = product_.RowBytes(width);
      std::byte* const own = Scratch<TaskScratchTag>(static_cast<size_t>(rows * stride));
      product_.PackRows(RowMajor(wide_, width).Rows(first), rows, width, 1.0f, own);
      converted = own;
    }
    float* const out = narrow_ + first * rank;
    for (int64_t panel = 0; panel < panels_.count(); ++panel) {
      product_.Multiply({converted, rows, panels_.Panel(panel), width, panels_.Width(panel),
                         out + panel * kPanel, rank, false, stride});
    }
    for (int64_t i = 0; i < rows * rank; ++i) out[i] *= scaling_;
    if (packed_ == nullptr) return;
    product_.PackRows(RowMajor(out, rank), rows, rank, 1.0f, packed_ + first * product_.RowBytes(rank));
  }

  // For a call without a base product.
  void SeeAll(int64_t rows, Parallel& parallel) const {
    parallel.For(Count(rows, task_rows()), [&](int64_t task) {
      const int64_t end = std::min(rows, (task + 1) * task_rows());
      for (int64_t first = task * task_rows(); first < end; first += kBlock) {
        See(first, std::min(kBlock, end - first), nullptr, 0);
      }
    });
  }

 protected:
  const FloatProduct& product_;
  const Panels& panels_;
  const float* const wide_;
  const float scaling_;
  float* const narrow_;
  std::byte* const packed_;
};

// narrow^T * wide, a part for each task's rows: [parts][rank][width rounded up to panels].
struct RowSums {
  const float* wide;
  int64_t width;
  int64_t rank;
  float* parts = nullptr;

  int64_t stride() const { return Count(width, kPanel) * kPanel; }
  int64_t bytes(int64_t count) const { return count * rank * stride() * int64_t{sizeof(float)}; }
  float* Part(int64_t part) const { return parts + part * rank * stride(); }
  int64_t panels() const { return Count(width, kPanel); }

  // Adds narrow^T [rank][rows], packed as rows, times 64 columns of rows [first, first + rows).
  void Add(const FloatProduct& product, const std::byte* narrow, int64_t first, int64_t rows, int64_t panel,
           float* part, bool accumulate, std::byte* scratch) const {
    const int64_t column = panel * kPanel, columns = std::min(kPanel, width - column);
    product.PackPanel(RowMajor(wide, width).Rows(first).Columns(column), rows, columns, scratch);
    product.Multiply({narrow, rank, scratch, rows, columns, part + column, stride(), accumulate});
  }

  // The sum of all parts and of `start`, if given: element (r, column) to out[r * row_stride + column *
  // column_stride], which is where it stands in `start` too.
  void Finish(int64_t count, int64_t panel, const float* start, float* out, int64_t row_stride,
              int64_t column_stride) const {
    const int64_t column = panel * kPanel, columns = std::min(kPanel, width - column);
    for (int64_t r = 0; r < rank; ++r) {
      float sum[kPanel] = {};
      for (int64_t part = 0; part < count; ++part) {
        const float* const from = Part(part) + r * stride() + column;
        for (int64_t c = 0; c < columns; ++c) sum[c] += from[c];
      }
      for (int64_t c = 0; c < columns; ++c) {
        const int64_t at = r * row_stride + (column + c) * column_stride;
        out[at] = start == nullptr ? sum[c] : start[at] + sum[c];
      }
    }
  }
};

// Besides dh, the narrow form of dy, the sums dA = dh^T x and dB = h^T dy over the rows that pass.
class NarrowGradient final : public Narrow {
 public:
  NarrowGradient(const FloatProduct& product, const Panels& panels, const RowSums& a, const RowSums& b,
                 const float* h, float scaling, float* dh, std::byte* packed, int64_t task_rows)
      : Narrow(product, panels, b.wide, scaling, dh, packed), a_(a), b_(b), h_(h), task_rows_(task_rows) {}

  int64_t task_rows() const override { return task_rows_; }

  void See(int64_t first, int64_t rows, const std::byte* converted, int64_t stride) const override {
    Narrow::See(first, rows, converted, stride);
    const int64_t rank = a_.rank, narrow_bytes = rank * product_.RowBytes(kBlock);
    std::byte* const narrow =
        Scratch<SumScratchTag>(static_cast<size_t>(RoundUp(narrow_bytes, 64) + product_.PanelBytes(kBlock)));
    std::byte* const panel = narrow + RoundUp(narrow_bytes, 64);
    const int64_t part = first / task_rows_;
    const bool adds = first % task_rows_ != 0;
    PackTransposed(h_, first, rows, narrow);
    for (int64_t p = 0; p < b_.panels(); ++p) {
      // Rows of x come from memory while those of dy, which are in the cache, are multiplied.
      for (int64_t r = rows * p / b_.panels(); r < rows * (p + 1) / b_.panels(); ++r) {
        for (int64_t k = 0; k < a_.width; k += 16) Prefetch(a_.wide + (first + r) * a_.width + k);
      }
      b_.Add(product_, narrow, first, rows, p, b_.Part(part), adds, panel);
    }
    PackTransposed(narrow_, first, rows, narrow);
    for (int64_t p = 0; p < a_.panels(); ++p) {
      a_.Add(product_, narrow, first, rows, p, a_.Part(part), adds, panel);
    }
  }

 private:
  struct SumScratchTag;

  static void Prefetch(const float* p) {
#if defined(__GNUC__)
    __builtin_prefetch(p, 0, 2);
#endif
  }

  void PackTransposed(const float* narrow, int64_t first, int64_t rows, std::byte* out) const {
    product_.PackRows(RowMajor(narrow, a_.rank).Rows(first).Transposed(), a_.rank, rows, 1.0f, out);
  }

  const RowSums& a_;
  const RowSums& b_;
  const float* const h_;
  const int64_t task_rows_;
};

void AddRows(const float* addend, int64_t rows, int64_t width, float* out, Parallel& parallel) {
  if (addend == nullptr || out == nullptr) return;
  ForRows(parallel, rows, width, [&](int64_t first, int64_t count) {
    for (int64_t i = first * width; i < (first + count) * width; ++i) out[i] += addend[i];
  });
}

}  // namespace

void LoraLinearKernel::Forward(const LoraWeights& weights, const float* x, int64_t rows, const float* bias,
                               const float* addend, float* y, float* h, Parallel& parallel) const {
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
  const Narrow narrow(product_, down, x, weights.scaling, h, memory + rows_at);
  const LowRankAddend branch(up, memory + rows_at);
  if (n == 0) return narrow.SeeAll(rows, parallel);
  GemmCall call;
  call.weight = weights.weight;
  call.scale = weights.scale;
  call.bias = bias;
  call.in = x;
  call.out = y;
  call.rows = rows;
  call.observer = &narrow;
  call.addend = &branch;
  base_.Run(call, parallel);
  AddRows(addend, rows, n, y, parallel);
}

void LoraLinearKernel::Backward(const LoraWeights& weights, const float* dy, const float* x, const float* h,
                                int64_t rows, const LoraStarts& starts, float* da, float* db, float* dx,
                                Parallel& parallel) const {
  const int64_t k = weights.weight->k(), n = weights.weight->n(), rank = weights.rank;
  const int64_t task_rows =
      std::max<int64_t>(1, Count(rows, kParts * RowObserver::kBlock)) * RowObserver::kBlock;
  const int64_t parts = Count(rows, task_rows);
  Panels down{product_, RowMajor(weights.b, rank), n, rank};
  Panels up{product_, RowMajor(weights.a, k), rank, k};
  RowSums a_sums{x, k, rank}, b_sums{dy, n, rank};
  Layout layout;
  const int64_t down_at = layout.Take(down.bytes()), up_at = layout.Take(dx == nullptr ? 0 : up.bytes());
  const int64_t narrow_at = layout.Take(rows * rank * int64_t{sizeof(float)});
  const int64_t rows_at = layout.Take(dx == nullptr ? 0 : rows * product_.RowBytes(rank));
  const int64_t a_at = layout.Take(a_sums.bytes(parts)), b_at = layout.Take(b_sums.bytes(parts));
  std::byte* const memory = layout.Reserve();
  down.data = memory + down_at;
  up.data = memory + up_at;
  a_sums.parts = reinterpret_cast<float*>(memory + a_at);
  b_sums.parts = reinterpret_cast<float*>(memory + b_at);
  auto* const dh = reinterpret_cast<float*>(memory + narrow_at);

  parallel.For(down.count() + (dx == nullptr ? 0 : up.count()),
               [&](int64_t task) { task < down.count() ? down.Pack(task) : up.Pack(task - down.count()); });
  const NarrowGradient narrow(product_, down, a_sums, b_sums, h, weights.scaling, dh,
                              dx == nullptr ? nullptr : memory + rows_at, task_rows);
  if (dx == nullptr || k == 0) {
    narrow.SeeAll(rows, parallel);
  } else {
    const LowRankAddend addend(up, memory + rows_at);
    GemmCall call;
    call.direction = Direction::kGradient;
    call.weight = weights.weight;
    call.scale = weights.scale;
    call.in = dy;
    call.out = dx;
    call.rows = rows;
    call.observer = &narrow;
    call.addend = &addend;
    base_.Run(call, parallel);
  }
  parallel.For(a_sums.panels() + b_sums.panels(), [&](int64_t task) {
    if (task < a_sums.panels()) return a_sums.Finish(parts, task, starts.da, da, k, 1);
    b_sums.Finish(parts, task - a_sums.panels(), starts.db, db, 1, rank);
  });
  AddRows(starts.dx, rows, k, dx, parallel);
}

}  // namespace ortqlora

#include "ops/cross_entropy/cross_entropy_cpu.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "common/error.h"
#include "common/scratch.h"
#include "ops/matmul_int8/packed_weight.h"

namespace ortqlora {
namespace {

struct SharedScratch;
struct TaskScratchTag;

constexpr int64_t kPanel = FloatProduct::kPanel;
// Classes that pass at a time: their logits for a task's rows stay in L2.
constexpr int64_t kClasses = 512;
// Rows of a task: a multiple of every tile height.
constexpr int64_t kTaskRows = 48;

int64_t Count(int64_t size, int64_t part) { return (size + part - 1) / part; }

// The rows whose label counts.
std::vector<int64_t> CountedRows(const CrossEntropyCall& call) {
  std::vector<int64_t> rows;
  for (int64_t row = 0; row < call.rows; ++row) {
    const int64_t label = call.labels[row];
    if (label == call.ignored) continue;
    if (label < 0 || label >= call.classes) {
      Fail("the label at position ", row, " is ", label, ", expected a class from 0 to ", call.classes - 1,
           ", or ", call.ignored, " for none.");
    }
    rows.push_back(row);
  }
  return rows;
}

// One call: what its phases share.
class HeadLoss {
 public:
  HeadLoss(const FloatProduct& product, const SimdKernels& simd, const CrossEntropyCall& call,
           Parallel& parallel)
      : product_(product),
        simd_(simd),
        call_(call),
        parallel_(parallel),
        rows_(CountedRows(call)),
        count_(static_cast<int64_t>(rows_.size())),
        row_bytes_(product.RowBytes(call.width)),
        forward_bytes_(RoundUp(product.PanelBytes(call.width), 64)),
        gradient_bytes_(RoundUp(product.PanelBytes(kClasses), 64)) {
    const int64_t panels = kClasses / kPanel, columns = Count(call.width, kPanel);
    const int64_t statistics = RoundUp(count_ * int64_t{sizeof(float)}, 64);
    const int64_t x_bytes = RoundUp(count_ * row_bytes_, 64);
    std::byte* const memory =
        Scratch<SharedScratch>(static_cast<size_t>(x_bytes + 3 * statistics + panels * forward_bytes_ +
                                                   (call.dx == nullptr ? 0 : columns * gradient_bytes_)));
    packed_x_ = memory;
    most_ = reinterpret_cast<float*>(memory + x_bytes);
    total_ = reinterpret_cast<float*>(memory + x_bytes + statistics);
    label_logit_ = reinterpret_cast<float*>(memory + x_bytes + 2 * statistics);
    forward_ = memory + x_bytes + 3 * statistics;
    gradient_ = forward_ + panels * forward_bytes_;
  }

  float Compute() {
    if (count_ == 0) {
      if (call_.dx != nullptr) std::fill_n(call_.dx, call_.rows * call_.width, 0.0f);
      return 0.0f;
    }
    parallel_.For(Count(count_, kTaskRows), [&](int64_t task) { Start(task * kTaskRows); });
    for (int64_t first = 0; first < call_.classes; first += kClasses) {
      const int64_t classes = std::min(kClasses, call_.classes - first);
      PackWeight(first, classes);
      parallel_.For(Count(count_, kTaskRows),
                    [&](int64_t task) { AddClasses(task * kTaskRows, first, classes); });
    }
    if (call_.dx != nullptr) {
      parallel_.For(Count(count_, kTaskRows), [&](int64_t task) { FinishGradient(task * kTaskRows); });
      Spread();
    }
    double sum = 0;
    for (int64_t i = 0; i < count_; ++i) sum += most_[i] + std::log(double{total_[i]}) - label_logit_[i];
    return static_cast<float>(sum / static_cast<double>(count_));
  }

 private:
  int64_t Height(int64_t first) const { return std::min(kTaskRows, count_ - first); }

  void Start(int64_t first) {
    for (int64_t i = first; i < first + Height(first); ++i) {
      const float* const x = call_.x + rows_[static_cast<size_t>(i)] * call_.width;
      product_.PackRows(RowMajor(x, call_.width), 1, call_.width, 1.0f, packed_x_ + i * row_bytes_);
      most_[i] = -std::numeric_limits<float>::infinity();
      total_[i] = 0.0f;
      label_logit_[i] = 0.0f;
    }
    // The gradient gathers in the first rows of dx, one for each that counts.
    if (call_.dx != nullptr) std::fill_n(call_.dx + first * call_.width, Height(first) * call_.width, 0.0f);
  }

  void PackWeight(int64_t first, int64_t classes) {
    const int64_t panels = Count(classes, kPanel);
    const int64_t columns = call_.dx == nullptr ? 0 : Count(call_.width, kPanel);
    const MatrixView weight = call_.weight.Columns(first);
    parallel_.For(panels + columns, [&](int64_t task) {
      if (task < panels) {
        product_.PackPanel(weight.Columns(task * kPanel), call_.width,
                           std::min(kPanel, classes - task * kPanel), forward_ + task * forward_bytes_);
      } else {
        const int64_t column = (task - panels) * kPanel;
        product_.PackPanel(weight.Rows(column).Transposed(), classes, std::min(kPanel, call_.width - column),
                           gradient_ + (task - panels) * gradient_bytes_);
      }
    });
  }

  // Classes [class0, class0 + classes) for the rows of one task.
  void AddClasses(int64_t first, int64_t class0, int64_t classes) {
    const int64_t height = Height(first), width = call_.width;
    const int64_t logit_bytes = kTaskRows * kClasses * int64_t{sizeof(float)};
    std::byte* const scratch =
        Scratch<TaskScratchTag>(static_cast<size_t>(logit_bytes + kTaskRows * product_.RowBytes(kClasses)));
    auto* const logits = reinterpret_cast<float*>(scratch);
    std::byte* const packed = scratch + logit_bytes;
    for (int64_t c = 0; c < classes; c += kPanel) {
      product_.Multiply({packed_x_ + first * row_bytes_, height, forward_ + c / kPanel * forward_bytes_,
                         width, std::min(kPanel, classes - c), logits + c, kClasses});
    }
    for (int64_t row = 0; row < height; ++row) {
      AddRow(first + row, class0, classes, logits + row * kClasses);
    }
    if (call_.dx == nullptr) return;
    product_.PackRows(RowMajor(logits, kClasses), height, classes, 1.0f, packed);
    for (int64_t c = 0; c < width; c += kPanel) {
      product_.Multiply({packed, height, gradient_ + c / kPanel * gradient_bytes_, classes,
                         std::min(kPanel, width - c), call_.dx + first * width + c, width, true});
    }
  }

  // Logits to exp(logit - running maximum), into the row's sum.
  void AddRow(int64_t i, int64_t class0, int64_t classes, float* logit) {
    const int64_t label = call_.labels[rows_[static_cast<size_t>(i)]] - class0;
    if (call_.bias != nullptr) simd_.add_scaled(call_.bias + class0, 1.0f, classes, logit);
    if (label >= 0 && label < classes) label_logit_[i] = logit[label];
    const float largest = std::max(most_[i], simd_.largest(logit, classes));
    // Classes of logit -infinity have the probability 0.
    const float shift = largest == -std::numeric_limits<float>::infinity() ? 0.0f : largest;
    const float sum = simd_.exp_sum(logit, shift, classes, logit);
    if (largest > most_[i]) {
      const float factor = std::exp(most_[i] - shift);
      total_[i] *= factor;
      if (call_.dx != nullptr) simd_.scale(call_.dx + i * call_.width, factor, call_.width);
      most_[i] = largest;
    }
    total_[i] += sum;
  }

  // (sum of probabilities * columns - the label's column) / rows that count
  void FinishGradient(int64_t first) {
    const float share = 1.0f / static_cast<float>(count_);
    for (int64_t i = first; i < first + Height(first); ++i) {
      const int64_t label = call_.labels[rows_[static_cast<size_t>(i)]];
      const float* const column = call_.weight.data + label * call_.weight.column_stride;
      float* const out = call_.dx + i * call_.width;
      const float inverse = share / total_[i];
      for (int64_t k = 0; k < call_.width; ++k) {
        out[k] = out[k] * inverse - share * column[k * call_.weight.row_stride];
      }
    }
  }

  // Gradients stand in the first rows: to the rows they belong to, from the last one on, and 0 to the others.
  void Spread() {
    int64_t i = count_ - 1;
    for (int64_t row = call_.rows - 1; row >= 0; --row) {
      float* const out = call_.dx + row * call_.width;
      if (i >= 0 && rows_[static_cast<size_t>(i)] == row) {
        if (i != row) std::copy_n(call_.dx + i * call_.width, call_.width, out);
        --i;
      } else {
        std::fill_n(out, call_.width, 0.0f);
      }
    }
  }

  const FloatProduct& product_;
  const SimdKernels& simd_;
  const CrossEntropyCall& call_;
  Parallel& parallel_;
  const std::vector<int64_t> rows_;
  const int64_t count_;
  const int64_t row_bytes_, forward_bytes_, gradient_bytes_;
  std::byte* packed_x_;
  float* most_;
  float* total_;
  float* label_logit_;
  std::byte* forward_;
  std::byte* gradient_;
};

}  // namespace

float LinearCrossEntropyKernel::Run(const CrossEntropyCall& call, Parallel& parallel) const {
  return HeadLoss(product_, simd_, call, parallel).Compute();
}

}  // namespace ortqlora

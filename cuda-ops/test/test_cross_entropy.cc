#include "common/error.h"
#include "ops/cross_entropy/cross_entropy_cpu.h"
#include "test/float64.h"
#include "test/matmul_int8_reference.h"
#include "test/test.h"
#include "test/thread_pool.h"

namespace ortqlora::test {
namespace {

constexpr int64_t kIgnored = -100;

struct Head {
  int64_t rows, width, classes;
  bool transposed;
  std::vector<float> x, weight, bias;
  std::vector<int64_t> labels;

  Head(int64_t rows_in, int64_t width_in, int64_t classes_in, bool transposed_in, int64_t every)
      : rows(rows_in),
        width(width_in),
        classes(classes_in),
        transposed(transposed_in),
        x(RandomRows(rows, width, 1)),
        weight(RandomRows(width, classes, 2)),
        bias(RandomRows(1, classes, 3)) {
    for (float& value : weight) value *= 0.3f;
    for (int64_t i = 0; i < rows; ++i)
      labels.push_back(every > 0 && i % every == 0 ? kIgnored : i * 37 % classes);
  }

  MatrixView View() const {
    return transposed ? RowMajor(weight.data(), width).Transposed() : RowMajor(weight.data(), classes);
  }

  double Weight(int64_t k, int64_t c) const {
    const MatrixView view = View();
    return double{view.data[k * view.row_stride + c * view.column_stride]};
  }

  float Run(CpuPath path, Compute compute, Parallel& parallel, float* dx) const {
    const CrossEntropyCall call{x.data(),    rows,          width,    View(), classes,
                                bias.data(), labels.data(), kIgnored, dx};
    return LinearCrossEntropyKernel(path, compute).Run(call, parallel);
  }
};

void Check(const Head& head) {
  Doubles gradient(head.x.size(), 0.0);
  double loss = 0, counted = 0;
  for (int64_t label : head.labels) counted += label == kIgnored ? 0 : 1;
  for (int64_t row = 0; row < head.rows; ++row) {
    const int64_t label = head.labels[static_cast<size_t>(row)];
    if (label == kIgnored) continue;
    Doubles logits;
    double most = -INFINITY, total = 0;
    for (int64_t c = 0; c < head.classes; ++c) {
      double logit = head.bias[static_cast<size_t>(c)];
      for (int64_t k = 0; k < head.width; ++k)
        logit += head.x[static_cast<size_t>(row * head.width + k)] * head.Weight(k, c);
      logits.push_back(logit);
      most = std::max(most, logit);
    }
    for (double logit : logits) total += std::exp(logit - most);
    loss += (most + std::log(total) - logits[static_cast<size_t>(label)]) / counted;
    for (int64_t c = 0; c < head.classes; ++c) {
      const double p = std::exp(logits[static_cast<size_t>(c)] - most) / total - (c == label ? 1 : 0);
      for (int64_t k = 0; k < head.width; ++k)
        gradient[static_cast<size_t>(row * head.width + k)] += p * head.Weight(k, c) / counted;
    }
  }
  ThreadPool pool(2);
  for (CpuPath path : SupportedCpuPaths()) {
    for (Compute compute : {Compute::kFp32, Compute::kBf16}) {
      Context() = Concat(CpuPathName(path), " ", ComputeName(compute), " ", head.rows, " x ", head.width,
                         " x ", head.classes);
      const bool exact = compute == Compute::kFp32;
      std::vector<float> dx = NaNs(head.rows * head.width);
      EXPECT_AT_MOST(std::abs(head.Run(path, compute, pool, dx.data()) - loss),
                     (exact ? 1e-6 : 5e-3) * (1 + loss));
      EXPECT_AT_MOST(RelativeError(dx, gradient), exact ? 1e-5 : 1e-2);
      EXPECT_AT_MOST(std::abs(head.Run(path, compute, pool, nullptr) - loss),
                     (exact ? 1e-6 : 5e-3) * (1 + loss));
    }
  }
}

TEST(LossAndGradientMatchFloat64) {
  for (const bool transposed : {false, true}) {
    Check(Head(0, 5, 3, transposed, 0));
    Check(Head(3, 0, 4, transposed, 0));
    Check(Head(4, 3, 1, transposed, 1));
    Check(Head(1, 1, 2, transposed, 0));
    Check(Head(5, 17, 33, transposed, 2));
    Check(Head(50, 70, 512, transposed, 3));
    Check(Head(49, 33, 1100, transposed, 0));
    Check(Head(100, 16, 513, transposed, 5));
  }
}

TEST(NoLabelsGiveZero) {
  Head head(7, 8, 9, false, 1);
  std::vector<float> dx = NaNs(7 * 8);
  Serial serial;
  EXPECT_EQ(head.Run(SelectCpuPath(), Compute::kFp32, serial, dx.data()), 0.0f);
  for (float value : dx) EXPECT_EQ(value, 0.0f);
}

TEST(LabelsThatAreNoClassAreNamed) {
  Head head(7, 8, 9, false, 0);
  head.labels[4] = 9;
  Serial serial;
  EXPECT_THROWS(head.Run(SelectCpuPath(), Compute::kFp32, serial, nullptr), "position 4", "is 9", "0 to 8");
}

TEST(ThreadsDoNotChangeBits) {
  const Head head(200, 64, 1500, true, 3);
  ThreadPool pool(3);
  Serial serial;
  std::vector<float> one = NaNs(200 * 64), three = one;
  EXPECT_EQ(head.Run(SelectCpuPath(), Compute::kBf16, serial, one.data()),
            head.Run(SelectCpuPath(), Compute::kBf16, pool, three.data()));
  EXPECT_TRUE(one == three);
}

}  // namespace
}  // namespace ortqlora::test

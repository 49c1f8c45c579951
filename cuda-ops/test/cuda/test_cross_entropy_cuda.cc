// The loss over a vocabulary and its gradient on a CUDA device against float64.

#include "common/error.h"
#include "ops/cross_entropy/cross_entropy_cuda.h"
#include "test/cuda/device_array.h"
#include "test/float64.h"
#include "test/matmul_int8_reference.h"

namespace ortqlora::test {
namespace {

constexpr std::pair<Element, double> kElements[] = {
    {Element::kFloat, 1e-5}, {Element::kHalf, 2e-3}, {Element::kBfloat16, 1e-2}};

struct Expected {
  double loss = 0;
  Doubles dx;
};

Expected CrossEntropy(const std::vector<float>& x, const std::vector<float>& weight, const std::vector<float>& bias,
                      const std::vector<int64_t>& labels, int64_t width, int64_t classes, bool transposed) {
  const auto rows = static_cast<int64_t>(labels.size());
  const auto w = [&](int64_t k, int64_t c) {
    return double{weight[static_cast<size_t>(transposed ? c * width + k : k * classes + c)]};
  };
  Doubles logits = Product(rows, width, classes, At(x, width), w);
  double counted = 0;
  for (int64_t label : labels) counted += label != -100 ? 1 : 0;
  Expected expected;
  Doubles slopes(logits.size(), 0.0);
  for (int64_t row = 0; row < rows; ++row) {
    if (labels[static_cast<size_t>(row)] == -100) continue;
    double* const at = logits.data() + row * classes;
    double sum = 0;
    for (int64_t c = 0; c < classes; ++c) {
      at[c] += bias.empty() ? 0.0 : bias[static_cast<size_t>(c)];
      sum += std::exp(at[c]);
    }
    const int64_t label = labels[static_cast<size_t>(row)];
    expected.loss += (std::log(sum) - at[label]) / counted;
    for (int64_t c = 0; c < classes; ++c) {
      slopes[static_cast<size_t>(row * classes + c)] = (std::exp(at[c]) / sum - (c == label ? 1 : 0)) / counted;
    }
  }
  expected.dx =
      Product(rows, classes, width, At(slopes, classes), [&](int64_t c, int64_t k) { return w(k, c); });
  return expected;
}

TEST(LossAndGradientMatchFloat64) {
  DeviceOrSkip();
  const int64_t width = 64;
  for (const auto& [element, limit] : kElements) {
    for (int64_t classes : {5, 1000, 9001}) {
      for (bool transposed : {false, true}) {
        for (Element weight_element : {element, Element::kFloat}) {
          for (bool given : {false, true}) {  // bias, and ignored labels
            Context() = Concat(ElementName(element), " classes ", classes, " transposed ", transposed, " bias ", given);
            const int64_t rows = 19;
            const std::vector<float> x = Rounded(element, RandomRows(rows, width, 1));
            std::vector<float> weight = Rounded(Element::kBfloat16, RandomRows(width, classes, 2));
            for (float& value : weight) value *= 0.125f;
            const std::vector<float> bias = given ? RandomRows(1, classes, 3) : std::vector<float>();
            std::vector<int64_t> labels;
            for (int64_t i = 0; i < rows; ++i) labels.push_back(given && i % 4 == 1 ? -100 : i * 7 % classes);
            const Expected expected = CrossEntropy(x, weight, bias, labels, width, classes, transposed);

            const DeviceArray in = DeviceArray::Of(element, x), w = DeviceArray::Of(weight_element, weight);
            const DeviceArray b = DeviceArray::Of(bias), l = DeviceArray::Of(labels), loss(4);
            const DeviceArray dx(static_cast<size_t>(rows * width * cuda::SizeOf(element)));
            cuda::DeviceCrossEntropyCall call;
            call.element = element;
            call.weight_element = weight_element;
            call.x = in.data();
            call.weight = w.data();
            call.transposed = transposed;
            call.bias = given ? b.data() : nullptr;
            call.labels = static_cast<const int64_t*>(l.data());
            call.rows = rows;
            call.width = width;
            call.classes = classes;
            call.loss = static_cast<float*>(loss.data());
            call.dx = dx.data();
            if (given) call.most_logits = 8 * (cuda::CeilDiv(classes, 8) * 8);  // three rounds
            const DeviceArray workspace(static_cast<size_t>(cuda::CrossEntropyWorkspace(call)));
            cuda::RunCrossEntropy(call, workspace.data(), nullptr);
            EXPECT_AT_MOST(std::abs(loss.Read<float>()[0] - expected.loss), 1e-5 * expected.loss);
            EXPECT_AT_MOST(RelativeError(dx.ReadFloats(element), expected.dx), limit);
          }
        }
      }
    }
  }
}

TEST(WithoutLabelsTheLossIsZeroAndWrongOnesGiveNan) {
  DeviceOrSkip();
  const DeviceArray x = DeviceArray::Of(RandomRows(2, 8, 1)), w = DeviceArray::Of(RandomRows(8, 5, 2));
  for (int64_t label : {-100, 5, -1}) {
    Context() = Concat("label ", label);
    const DeviceArray labels = DeviceArray::Of(std::vector<int64_t>{label, -100}), loss(4), dx(2 * 8 * 4);
    cuda::DeviceCrossEntropyCall call;
    call.x = x.data();
    call.weight = w.data();
    call.labels = static_cast<const int64_t*>(labels.data());
    call.rows = 2;
    call.width = 8;
    call.classes = 5;
    call.loss = static_cast<float*>(loss.data());
    call.dx = dx.data();
    const DeviceArray workspace(static_cast<size_t>(cuda::CrossEntropyWorkspace(call)));
    cuda::RunCrossEntropy(call, workspace.data(), nullptr);
    const float value = loss.Read<float>()[0];
    EXPECT_TRUE(label == -100 ? value == 0.0f : std::isnan(value));
    if (label == -100) EXPECT_TRUE(dx.Read<float>() == std::vector<float>(16, 0.0f));
  }
}

}  // namespace
}  // namespace ortqlora::test

// Kernels on rows: normalizations, activations, rotary embedding; each against float64, over odd sizes
// and on every path.

#include <algorithm>

#include "common/error.h"
#include "ops/normalization/normalization_cpu.h"
#include "ops/rotary/rotary_cpu.h"
#include "ops/simd/simd_kernels.h"
#include "test/float64.h"
#include "test/matmul_int8_reference.h"
#include "test/test.h"
#include "test/thread_pool.h"

namespace ortqlora::test {
namespace {

constexpr double kTolerance = 2e-6;
constexpr double kSlopeTolerance = 1e-5;
constexpr int64_t kSizes[] = {1, 2, 7, 16, 17, 31, 64, 83};

template <typename Body>
void ForEachPath(const char* what, const Body& body) {
  for (CpuPath path : SupportedCpuPaths()) {
    for (int64_t size : kSizes) {
      Context() = Concat(what, " ", CpuPathName(path), " size ", size);
      body(SimdKernelsOf(path), size);
    }
  }
}

// Normalised values of `rows` rows; weight and bias are applied.
Doubles Norm(const Doubles& x, int64_t width, const Doubles& weight, const Doubles& bias, double epsilon,
             bool centred) {
  Doubles y(x.size());
  for (size_t first = 0; first < x.size(); first += static_cast<size_t>(width)) {
    const auto size = static_cast<size_t>(width);
    double mean = 0, square = 0;
    for (size_t i = 0; i < size && centred; ++i) mean += x[first + i] / static_cast<double>(width);
    for (size_t i = 0; i < size; ++i)
      square += (x[first + i] - mean) * (x[first + i] - mean) / static_cast<double>(width);
    for (size_t i = 0; i < size; ++i)
      y[first + i] = (x[first + i] - mean) / std::sqrt(square + epsilon) * weight[i] + bias[i];
  }
  return y;
}

TEST(NormalizationsMatchFloat64) {
  ThreadPool pool(2);
  for (const bool centred : {false, true}) {
    ForEachPath(centred ? "layer norm" : "rms norm", [&](const SimdKernels& kernels, int64_t width) {
      const int64_t rows = 3;
      const float epsilon = 0.01f;
      std::vector<float> x = RandomRows(rows, width, 1);
      for (float& value : x) value += 0.5f;
      const std::vector<float> dy = RandomRows(rows, width, 2), weight = RandomRows(1, width, 3);
      const std::vector<float> bias =
          centred ? RandomRows(1, width, 4) : std::vector<float>(static_cast<size_t>(width));
      std::vector<float> y = NaNs(rows * width), dx = y, mean = NaNs(rows), inv = NaNs(rows);
      std::vector<float> dweight = NaNs(width), dbias = NaNs(width);
      if (centred) {
        LayerNormForward(kernels, {rows, width}, x.data(), weight.data(), bias.data(), epsilon, y.data(),
                         mean.data(), inv.data(), pool);
        LayerNormBackward(kernels, {rows, width}, dy.data(), x.data(), weight.data(), mean.data(), inv.data(),
                          nullptr, dx.data(), dweight.data(), dbias.data(), pool);
      } else {
        RmsNormForward(kernels, {rows, width}, x.data(), weight.data(), epsilon, y.data(), inv.data(), pool);
        RmsNormBackward(kernels, {rows, width}, dy.data(), x.data(), weight.data(), inv.data(), nullptr,
                        dx.data(), dweight.data(), pool);
      }
      const std::vector<float> addend = RandomRows(rows, width, 5);
      std::vector<float> onto = NaNs(rows * width), sum = dx;
      for (size_t i = 0; i < sum.size(); ++i) sum[i] += addend[i];
      if (centred) {
        LayerNormBackward(kernels, {rows, width}, dy.data(), x.data(), weight.data(), mean.data(), inv.data(),
                          addend.data(), onto.data(), nullptr, nullptr, pool);
      } else {
        RmsNormBackward(kernels, {rows, width}, dy.data(), x.data(), weight.data(), inv.data(), addend.data(),
                        onto.data(), nullptr, pool);
      }
      EXPECT_TRUE(onto == sum);
      const Doubles w(weight.begin(), weight.end()), b(bias.begin(), bias.end()), exact(x.begin(), x.end());
      const double e = epsilon;
      EXPECT_AT_MOST(RelativeError(y, Norm(exact, width, w, b, e, centred)), kTolerance);
      // The slope by x of a row of one element is 0 or nearly so.
      if (width > 2) {
        EXPECT_AT_MOST(
            RelativeError(
                dx, Slopes(x, dy, [&](const Doubles& in) { return Norm(in, width, w, b, e, centred); })),
            kSlopeTolerance);
      }
      EXPECT_AT_MOST(
          RelativeError(
              dweight,
              Slopes(weight, dy, [&](const Doubles& in) { return Norm(exact, width, in, b, e, centred); })),
          centred && width < 3 ? 1e-3 : kSlopeTolerance);
      if (centred) {
        EXPECT_AT_MOST(
            RelativeError(
                dbias,
                Slopes(bias, dy, [&](const Doubles& in) { return Norm(exact, width, w, in, e, centred); })),
            kSlopeTolerance);
      }
    });
  }
}

TEST(LargeMeansDoNotSpoilTheVariance) {
  for (CpuPath path : SupportedCpuPaths()) {
    Context() = CpuPathName(path);
    std::vector<float> x(21), y(21);
    for (size_t i = 0; i < x.size(); ++i) x[i] = 4096.0f + static_cast<float>(i);
    const std::vector<float> weight(21, 1.0f);
    float mean = 0, inv = 0;
    SimdKernelsOf(path).layer_norm(x.data(), weight.data(), nullptr, 21, 0.0f, y.data(), &mean, &inv);
    EXPECT_EQ(mean, 4106.0f);
    EXPECT_AT_MOST(std::abs(inv * inv * 110.0 / 3.0 - 1.0), 1e-6);  // the variance of 0 ... 20
  }
}

double Gelu(double x, bool tanh) {
  return tanh ? 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)))
              : 0.5 * x * std::erfc(-x / std::sqrt(2.0));
}

Doubles Each(const Doubles& in, const std::function<double(double)>& function) {
  Doubles out;
  for (double value : in) out.push_back(function(value));
  return out;
}

TEST(GeluMatchesFloat64) {
  for (const bool tanh : {false, true}) {
    ForEachPath(tanh ? "gelu tanh" : "gelu erf", [&](const SimdKernels& kernels, int64_t size) {
      std::vector<float> x = RandomRows(1, size, 5), y = NaNs(size), dx = y;
      for (float& value : x) value *= 3;
      const std::vector<float> dy = RandomRows(1, size, 6);
      (tanh ? kernels.gelu_tanh : kernels.gelu_erf)(x.data(), size, y.data());
      (tanh ? kernels.gelu_tanh_grad : kernels.gelu_erf_grad)(dy.data(), x.data(), size, dx.data());
      const auto function = [&](const Doubles& in) {
        return Each(in, [&](double v) { return Gelu(v, tanh); });
      };
      EXPECT_AT_MOST(RelativeError(y, function(Doubles(x.begin(), x.end()))), kTolerance);
      EXPECT_AT_MOST(RelativeError(dx, Slopes(x, dy, function)), kSlopeTolerance);
    });
  }
}

TEST(SwiGluMatchesFloat64) {
  ForEachPath("swiglu", [](const SimdKernels& kernels, int64_t size) {
    std::vector<float> gate = RandomRows(1, size, 5), up = RandomRows(1, size, 7),
                       dy = RandomRows(1, size, 6);
    std::vector<float> y = NaNs(size), dgate = y, dup = y;
    for (float& value : gate) value *= 4;
    kernels.swiglu(gate.data(), up.data(), size, y.data());
    kernels.swiglu_grad(dy.data(), gate.data(), up.data(), size, dgate.data(), dup.data());
    const auto value = [](const Doubles& g, const Doubles& u) {
      Doubles out;
      for (size_t i = 0; i < g.size(); ++i) out.push_back(g[i] / (1 + std::exp(-g[i])) * u[i]);
      return out;
    };
    const Doubles g(gate.begin(), gate.end()), u(up.begin(), up.end());
    EXPECT_AT_MOST(RelativeError(y, value(g, u)), kTolerance);
    EXPECT_AT_MOST(RelativeError(dgate, Slopes(gate, dy, [&](const Doubles& in) { return value(in, u); })),
                   kSlopeTolerance);
    EXPECT_AT_MOST(RelativeError(dup, Slopes(up, dy, [&](const Doubles& in) { return value(g, in); })),
                   kSlopeTolerance);
  });
}

TEST(ActivationsAreFiniteAtTheEnds) {
  for (CpuPath path : SupportedCpuPaths()) {
    Context() = CpuPathName(path);
    const SimdKernels& kernels = SimdKernelsOf(path);
    for (float x : {-3e38f, -1e4f, -90.0f, 90.0f, 1e4f}) {
      const float one = 1;
      float y = 0, slope = 0, other = 0;
      kernels.gelu_erf(&x, 1, &y);
      EXPECT_AT_MOST(std::abs(y - std::max(x, 0.0f)), 1e-3);
      kernels.gelu_erf_grad(&one, &x, 1, &slope);
      EXPECT_EQ(slope, x > 0 ? 1.0f : 0.0f);
      kernels.swiglu(&x, &one, 1, &y);
      EXPECT_AT_MOST(std::abs(y - std::max(x, 0.0f)), 1e-3);
      kernels.swiglu_grad(&one, &x, &one, 1, &slope, &other);
      EXPECT_AT_MOST(std::abs(slope - (x > 0 ? 1.0 : 0.0)), 1e-3);
    }
    const float nan = std::nanf("");
    float y = 0;
    kernels.gelu_erf(&nan, 1, &y);
    EXPECT_TRUE(std::isnan(y));
    kernels.exp_sum(&nan, 0, 1, &y);
    EXPECT_TRUE(std::isnan(y));
  }
}

TEST(RotaryTurnsHalvesAndLeavesTheRest) {
  Serial serial;
  for (CpuPath path : SupportedCpuPaths()) {
    for (const int64_t turned : {2, 6, 34, 64}) {
      for (const bool sequence_first : {false, true}) {
        for (const bool batched : {false, true}) {
          Context() =
              Concat(CpuPathName(path), " turned ", turned, " bshd ", sequence_first, " batched ", batched);
          const RotaryShape shape{2, 3, 5, turned + 3, turned, sequence_first, batched};
          const int64_t size = shape.size, count = 2 * 3 * 5 * size;
          const std::vector<float> x = RandomRows(1, count, 1), dy = RandomRows(1, count, 2);
          const int64_t tables = (batched ? 2 : 1) * 5 * turned;
          const std::vector<float> cos = RandomRows(1, tables, 3), sin = RandomRows(1, tables, 4);
          std::vector<float> y = NaNs(count), dx = y;
          RotateHeads(SimdKernelsOf(path).rotary, shape, x.data(), cos.data(), sin.data(), y.data(), serial);
          RotateHeads(SimdKernelsOf(path).rotary_grad, shape, dy.data(), cos.data(), sin.data(), dx.data(),
                      serial);
          const auto turn = [&](const Doubles& in) {
            Doubles out = in;
            for (int64_t head = 0; head < 30; ++head) {
              const int64_t b = head / 15, s = sequence_first ? head / 3 % 5 : head % 5, half = turned / 2;
              const int64_t angles = ((batched ? b : 0) * 5 + s) * turned;
              for (int64_t i = 0; i < turned; ++i) {
                const double other = i < half ? -in[static_cast<size_t>(head * size + i + half)]
                                              : in[static_cast<size_t>(head * size + i - half)];
                out[static_cast<size_t>(head * size + i)] =
                    in[static_cast<size_t>(head * size + i)] * cos[static_cast<size_t>(angles + i)] +
                    other * sin[static_cast<size_t>(angles + i)];
              }
            }
            return out;
          };
          EXPECT_AT_MOST(RelativeError(y, turn(Doubles(x.begin(), x.end()))), kTolerance);
          // The rotation is linear: dy . turn(x) = turn^T(dy) . x
          double left = 0, right = 0;
          for (size_t i = 0; i < x.size(); ++i) {
            left += double{dy[i]} * y[i];
            right += double{dx[i]} * x[i];
          }
          EXPECT_AT_MOST(std::abs(left - right), 1e-4 * (1 + std::abs(left)));
        }
      }
    }
  }
}

}  // namespace
}  // namespace ortqlora::test

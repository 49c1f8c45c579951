// Kernels on rows and elements on a CUDA device against those of the CPU: normalizations, activations, rotary embedding,
// AdamW.

#include "common/cpu_path.h"
#include "common/error.h"
#include "ops/adamw/adamw_cuda.h"
#include "ops/gelu/gelu_cuda.h"
#include "ops/normalization/normalization_cpu.h"
#include "ops/normalization/normalization_cuda.h"
#include "ops/rotary/rotary_cpu.h"
#include "ops/rotary/rotary_cuda.h"
#include "ops/simd/simd_kernels.h"
#include "ops/swiglu/swiglu_cuda.h"
#include "test/cuda/device_array.h"
#include "test/float64.h"
#include "test/matmul_int8_reference.h"

namespace ortqlora::test {
namespace {

constexpr std::pair<Element, double> kElements[] = {
    {Element::kFloat, 5e-6}, {Element::kHalf, 2e-3}, {Element::kBfloat16, 1e-2}};
constexpr int64_t kSizes[] = {1, 7, 64, 83, 1000, 4096};

const SimdKernels& Cpu() { return SimdKernelsOf(SelectCpuPath()); }

DeviceArray Empty(Element element, int64_t count) {
  return DeviceArray(static_cast<size_t>(count * cuda::SizeOf(element)));
}

Doubles Exact(const std::vector<float>& values) { return Doubles(values.begin(), values.end()); }

template <typename Body>
void ForEach(const char* what, const Body& body) {
  DeviceOrSkip();
  for (const auto& [element, limit] : kElements) {
    for (int64_t size : kSizes) {
      if (Small() && size != 83) continue;
      Context() = Concat(what, " ", ElementName(element), " size ", size);
      body(element, limit, size);
    }
  }
}

// One row count small, one larger than the parts of the sums over rows; weights in x's type and in fp32.
TEST(NormalizationsMatchTheCpu) {
  Serial serial;
  for (const bool centred : {false, true}) {
    ForEach(centred ? "layer norm" : "rms norm", [&](Element element, double limit, int64_t width) {
      for (int64_t rows : {3, 70}) {
        for (Element weight_element : {element, Element::kFloat}) {
          const float epsilon = 0.01f;
          const std::vector<float> x = Rounded(element, RandomRows(rows, width, 1));
          const std::vector<float> dy = Rounded(element, RandomRows(rows, width, 2));
          const std::vector<float> weight = Rounded(weight_element, RandomRows(1, width, 3));
          const std::vector<float> bias = Rounded(weight_element, RandomRows(1, width, 4));
          // The smaller of the row counts with an addend of dx.
          const std::vector<float> addend = Rounded(element, RandomRows(rows, width, 8));
          const DeviceArray added = DeviceArray::Of(element, addend);
          const bool adds = rows == 3;
          std::vector<float> y = NaNs(rows * width), dx = y, mean = NaNs(rows), inv = mean;
          std::vector<float> dweight = NaNs(width), dbias = dweight;
          if (centred) {
            LayerNormForward(Cpu(), {rows, width}, x.data(), weight.data(), bias.data(), epsilon, y.data(),
                             mean.data(), inv.data(), serial);
            LayerNormBackward(Cpu(), {rows, width}, dy.data(), x.data(), weight.data(), mean.data(), inv.data(),
                              adds ? addend.data() : nullptr, dx.data(), dweight.data(), dbias.data(), serial);
          } else {
            RmsNormForward(Cpu(), {rows, width}, x.data(), weight.data(), epsilon, y.data(), inv.data(), serial);
            RmsNormBackward(Cpu(), {rows, width}, dy.data(), x.data(), weight.data(), inv.data(),
                            adds ? addend.data() : nullptr, dx.data(), dweight.data(), serial);
          }
          const DeviceArray in = DeviceArray::Of(element, x), grad = DeviceArray::Of(element, dy);
          const DeviceArray w = DeviceArray::Of(weight_element, weight), b = DeviceArray::Of(weight_element, bias);
          const DeviceArray out = Empty(element, rows * width), in_grad = Empty(element, rows * width);
          const DeviceArray means = Empty(Element::kFloat, rows), invs = Empty(Element::kFloat, rows);
          const DeviceArray weight_grad = Empty(weight_element, width), bias_grad = Empty(weight_element, width);
          const DeviceArray workspace(static_cast<size_t>(cuda::NormGradWorkspace(rows, width)));
          cuda::NormCall call;
          call.element = element;
          call.weight_element = weight_element;
          call.rows = rows;
          call.width = width;
          call.x = in.data();
          call.weight = w.data();
          call.bias = centred ? b.data() : nullptr;
          call.epsilon = epsilon;
          call.y = out.data();
          call.mean = centred ? static_cast<float*>(means.data()) : nullptr;
          call.inv = static_cast<float*>(invs.data());
          cuda::LaunchNorm(call, nullptr);
          cuda::NormGradCall back;
          back.element = element;
          back.weight_element = weight_element;
          back.rows = rows;
          back.width = width;
          back.dy = grad.data();
          back.x = in.data();
          back.weight = w.data();
          back.mean = call.mean;
          back.inv = call.inv;
          back.addend = adds ? added.data() : nullptr;
          back.dx = in_grad.data();
          back.dweight = weight_grad.data();
          back.dbias = centred ? bias_grad.data() : nullptr;
          back.workspace = static_cast<float*>(workspace.data());
          cuda::LaunchNormGrad(back, nullptr);
          EXPECT_AT_MOST(RelativeError(invs.Read<float>(), Exact(inv)), 5e-6);
          EXPECT_AT_MOST(RelativeError(out.ReadFloats(element), Exact(y)), limit);
          // The slope by x of a row of one element is 0 or nearly so.
          if (width > 2) EXPECT_AT_MOST(RelativeError(in_grad.ReadFloats(element), Exact(dx)), limit);
          if (width > 2) EXPECT_AT_MOST(RelativeError(weight_grad.ReadFloats(weight_element), Exact(dweight)), limit);
          if (centred) {
            EXPECT_AT_MOST(RelativeError(means.Read<float>(), Exact(mean)), 5e-6);
            EXPECT_AT_MOST(RelativeError(bias_grad.ReadFloats(weight_element), Exact(dbias)), limit);
          }
        }
      }
    });
  }
}

TEST(ActivationsMatchTheCpu) {
  ForEach("activations", [](Element element, double limit, int64_t size) {
    const std::vector<float> gate = Rounded(element, RandomRows(1, size, 5));
    const std::vector<float> up = Rounded(element, RandomRows(1, size, 7));
    const std::vector<float> dy = Rounded(element, RandomRows(1, size, 6));
    std::vector<float> first = NaNs(size), second = first;
    const DeviceArray g = DeviceArray::Of(element, gate), u = DeviceArray::Of(element, up);
    const DeviceArray d = DeviceArray::Of(element, dy), a = Empty(element, size), b = Empty(element, size);
    const auto check = [&] { EXPECT_AT_MOST(RelativeError(a.ReadFloats(element), Exact(first)), limit); };

    Cpu().swiglu(gate.data(), up.data(), size, first.data());
    cuda::LaunchSwiGlu(element, g.data(), u.data(), size, a.data(), nullptr);
    check();
    Cpu().swiglu_grad(dy.data(), gate.data(), up.data(), size, first.data(), second.data());
    cuda::LaunchSwiGluGrad(element, d.data(), g.data(), u.data(), size, a.data(), b.data(), nullptr);
    check();
    EXPECT_AT_MOST(RelativeError(b.ReadFloats(element), Exact(second)), limit);
    for (bool tanh : {false, true}) {
      (tanh ? Cpu().gelu_tanh : Cpu().gelu_erf)(gate.data(), size, first.data());
      cuda::LaunchGelu(element, tanh, g.data(), size, a.data(), nullptr);
      check();
      (tanh ? Cpu().gelu_tanh_grad : Cpu().gelu_erf_grad)(dy.data(), gate.data(), size, first.data());
      cuda::LaunchGeluGrad(element, tanh, d.data(), g.data(), size, a.data(), nullptr);
      check();
    }
  });
}

TEST(ActivationsAreFiniteAtTheEnds) {
  DeviceOrSkip();
  const std::vector<float> ends = {-3e38f, -1e4f, -90.0f, 90.0f, 1e4f, 3e37f};
  const auto count = static_cast<int64_t>(ends.size());
  const DeviceArray x = DeviceArray::Of(ends), one = DeviceArray::Of(std::vector<float>(ends.size(), 1.0f));
  const DeviceArray y = Empty(Element::kFloat, count), z = Empty(Element::kFloat, count);
  const auto check = [&](bool slope) {
    const std::vector<float> actual = y.Read<float>();
    for (size_t i = 0; i < ends.size(); ++i) {
      const double expected = ends[i] < 0 ? 0.0 : slope ? 1.0 : double{ends[i]};
      EXPECT_AT_MOST(std::abs(actual[i] - expected), 1e-6 * (1 + expected));
    }
  };
  for (bool tanh : {false, true}) {
    cuda::LaunchGelu(Element::kFloat, tanh, x.data(), count, y.data(), nullptr);
    check(false);
    cuda::LaunchGeluGrad(Element::kFloat, tanh, one.data(), x.data(), count, y.data(), nullptr);
    check(true);
  }
  cuda::LaunchSwiGlu(Element::kFloat, x.data(), one.data(), count, y.data(), nullptr);
  check(false);
  cuda::LaunchSwiGluGrad(Element::kFloat, one.data(), x.data(), one.data(), count, y.data(), z.data(), nullptr);
  check(true);
}

TEST(RotaryMatchesTheCpu) {
  DeviceOrSkip();
  Serial serial;
  for (const auto& [element, limit] : kElements) {
    // Whole vectors of features, or not.
    for (const auto& [turned, rest] : {std::pair<int64_t, int64_t>{2, 3}, {34, 3}, {64, 3}, {64, 0}, {32, 8}}) {
      for (const bool sequence_first : {false, true}) {
        for (const bool batched : {false, true}) {
          Context() = Concat(ElementName(element), " turned ", turned, " bshd ", sequence_first, " batched ", batched);
          const RotaryShape shape{2, 3, 5, turned + rest, turned, sequence_first, batched};
          const int64_t count = 2 * 3 * 5 * shape.size, angles = (batched ? 2 : 1) * 5 * turned;
          const std::vector<float> x = Rounded(element, RandomRows(1, count, 1));
          const std::vector<float> cos = RandomRows(1, angles, 3), sin = RandomRows(1, angles, 4);
          const DeviceArray in = DeviceArray::Of(element, x), c = DeviceArray::Of(cos), s = DeviceArray::Of(sin);
          for (bool gradient : {false, true}) {
            std::vector<float> y = NaNs(count);
            RotateHeads(gradient ? Cpu().rotary_grad : Cpu().rotary, shape, x.data(), cos.data(), sin.data(), y.data(),
                        serial);
            const DeviceArray out = Empty(element, count);
            cuda::RotaryCall call;
            call.element = element;
            call.x = in.data();
            call.cos = c.data();
            call.sin = s.data();
            call.y = out.data();
            call.batch = 2;
            call.heads = 3;
            call.sequence = 5;
            call.size = shape.size;
            call.turned = turned;
            call.sequence_first = sequence_first;
            call.batched = batched;
            call.gradient = gradient;
            cuda::LaunchRotary(call, nullptr);
            EXPECT_AT_MOST(RelativeError(out.ReadFloats(element), Exact(y)), limit);
          }
        }
      }
    }
  }
}

TEST(AdamWMatchesFloat64AndMayOverwriteItsInputs) {
  DeviceOrSkip();
  for (int64_t size : kSizes) {
    for (bool scaled : {false, true}) {
      Context() = Concat("size ", size, scaled ? " with factor" : "");
      const std::vector<float> p = RandomRows(1, size, 1), g = RandomRows(1, size, 2), m = RandomRows(1, size, 3);
      std::vector<float> v = RandomRows(1, size, 4);
      for (float& value : v) value *= value;
      const double beta1 = 0.9f, beta2 = 0.99f, epsilon = 1e-6f, decay = 0.1f, rate = 0.01f, factor = scaled ? 0.25 : 1;
      const int64_t step = 3;
      Doubles new_p, new_m, new_v;
      for (size_t i = 0; i < p.size(); ++i) {
        const double grad = g[i] * factor;
        new_m.push_back(beta1 * m[i] + (1 - beta1) * grad);
        new_v.push_back(beta2 * v[i] + (1 - beta2) * grad * grad);
        const double direction = new_m[i] / (1 - std::pow(beta1, step)) /
                                 (std::sqrt(new_v[i] / (1 - std::pow(beta2, step))) + epsilon);
        new_p.push_back(p[i] - rate * (direction + decay * p[i]));
      }
      const DeviceArray dp = DeviceArray::Of(p), dg = DeviceArray::Of(g), dm = DeviceArray::Of(m), dv = DeviceArray::Of(v);
      const DeviceArray rates = DeviceArray::Of(std::vector<float>{0.01f, 0.25f});
      const DeviceArray steps = DeviceArray::Of(std::vector<int64_t>{step});
      cuda::AdamWCall call;
      call.p = call.new_p = static_cast<float*>(dp.data());
      call.g = static_cast<float*>(dg.data());
      call.m = call.new_m = static_cast<float*>(dm.data());
      call.v = call.new_v = static_cast<float*>(dv.data());
      call.rate = static_cast<float*>(rates.data());
      call.factor = scaled ? call.rate + 1 : nullptr;
      call.step = static_cast<int64_t*>(steps.data());
      call.count = size;
      call.beta1 = 0.9f;
      call.beta2 = 0.99f;
      call.epsilon = 1e-6f;
      call.weight_decay = 0.1f;
      cuda::LaunchAdamW(call, nullptr);
      EXPECT_AT_MOST(RelativeError(dp.Read<float>(), new_p), 2e-6);
      EXPECT_AT_MOST(RelativeError(dm.Read<float>(), new_m), 2e-6);
      EXPECT_AT_MOST(RelativeError(dv.Read<float>(), new_v), 2e-6);

      double squares = 0;
      for (float value : g) squares += double{value} * value;
      const DeviceArray norm(8), workspace(static_cast<size_t>(cuda::kSquaredNormBytes));
      cuda::LaunchSquaredNorm(call.g, size, static_cast<double*>(norm.data()), workspace.data(), nullptr);
      EXPECT_AT_MOST(std::abs(norm.Read<double>()[0] - squares), 1e-12 * squares);
    }
  }
}

}  // namespace
}  // namespace ortqlora::test

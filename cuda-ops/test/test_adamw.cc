// One step of AdamW and the sum of squares, against float64, over odd sizes and on every path.

#include "common/error.h"
#include "ops/adamw/adamw_cpu.h"
#include "test/float64.h"
#include "test/matmul_int8_reference.h"
#include "test/test.h"
#include "test/thread_pool.h"

namespace ortqlora::test {
namespace {

constexpr int64_t kSizes[] = {0, 1, 2, 7, 8, 15, 16, 17, 31, 83, 16384, 40003};

struct Arrays {
  std::vector<float> p, g, m, v;

  explicit Arrays(int64_t size)
      : p(RandomRows(1, size, 1)),
        g(RandomRows(1, size, 2)),
        m(RandomRows(1, size, 3)),
        v(RandomRows(1, size, 4)) {
    for (float& value : v) value *= value;
  }
};

AdamWCall CallOn(Arrays& in, Arrays& out, int64_t step, float factor) {
  AdamWCall call;
  call.p = in.p.data();
  call.g = in.g.data();
  call.m = in.m.data();
  call.v = in.v.data();
  call.new_p = out.p.data();
  call.new_m = out.m.data();
  call.new_v = out.v.data();
  call.count = static_cast<int64_t>(in.p.size());
  call.step = step;
  call.rate = 0.01f;
  call.factor = factor;
  call.beta1 = 0.9f;
  call.beta2 = 0.99f;
  call.epsilon = 1e-3f;
  call.weight_decay = 0.1f;
  return call;
}

TEST(AdamWMatchesFloat64AndMayOverwriteItsInputs) {
  ThreadPool pool(2);
  for (CpuPath path : SupportedCpuPaths()) {
    for (int64_t size : kSizes) {
      for (int64_t step : {1, 3, 100000}) {
        const float factor = step == 3 ? 0.25f : 1;
        Context() = Concat(CpuPathName(path), " size ", size, " step ", step);
        Arrays in(size), out(size);
        const AdamWCall call = CallOn(in, out, step, factor);
        Doubles p, m, v;
        const double beta1 = call.beta1, beta2 = call.beta2, t = static_cast<double>(step);
        for (size_t i = 0; i < in.p.size(); ++i) {
          const double g = double{in.g[i]} * factor;
          m.push_back(beta1 * in.m[i] + (1 - beta1) * g);
          v.push_back(beta2 * in.v[i] + (1 - beta2) * g * g);
          const double root = std::sqrt(v[i] / (1 - std::pow(beta2, t)));
          const double direction = m[i] / (1 - std::pow(beta1, t)) / (root + double{call.epsilon});
          p.push_back(in.p[i] - double{call.rate} * (direction + double{call.weight_decay} * in.p[i]));
        }
        StepAdamW(SimdKernelsOf(path), call, pool);
        EXPECT_AT_MOST(RelativeError(out.p, p), 5e-7);
        EXPECT_AT_MOST(RelativeError(out.m, m), 5e-7);
        EXPECT_AT_MOST(RelativeError(out.v, v), 5e-7);

        Serial serial;
        StepAdamW(SimdKernelsOf(path), CallOn(in, in, step, factor), serial);
        EXPECT_TRUE(in.p == out.p && in.m == out.m && in.v == out.v);
      }
    }
  }
}

TEST(SumOfSquaresHasTheSameBitsOnEveryPathAndThreadCount) {
  Serial serial;
  ThreadPool pool(3);
  for (int64_t size : {0, 1, 15, 16, 17, 32767, 32768, 32769, 100003}) {
    Context() = Concat("size ", size);
    const std::vector<float> x = RandomRows(1, size, 5);
    double expected = 0;
    for (float value : x) expected += double{value} * double{value};
    const double first = SumOfSquares(PortableSimdKernels(), x.data(), size, serial);
    EXPECT_AT_MOST(std::abs(first - expected), 1e-13 * expected);
    for (CpuPath path : SupportedCpuPaths()) {
      EXPECT_EQ(SumOfSquares(SimdKernelsOf(path), x.data(), size, pool), first);
    }
  }
}

TEST(SumOfSquaresTellsWhatIsNotFinite) {
  Serial serial;
  for (CpuPath path : SupportedCpuPaths()) {
    for (const float bad : {std::nanf(""), HUGE_VALF}) {
      std::vector<float> x(50, 1.0f);
      x[37] = bad;
      EXPECT_TRUE(!std::isfinite(SumOfSquares(SimdKernelsOf(path), x.data(), 50, serial)));
    }
    // What overflows a sum in fp32 does not overflow this one.
    const std::vector<float> large(50, 1e30f);
    EXPECT_TRUE(std::isfinite(SumOfSquares(SimdKernelsOf(path), large.data(), 50, serial)));
  }
}

}  // namespace
}  // namespace ortqlora::test

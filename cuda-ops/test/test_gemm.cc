#include <limits>

#include "common/error.h"
#include "test/matmul_int8_reference.h"
#include "test/test.h"
#include "test/thread_pool.h"

namespace ortqlora::test {
namespace {

// Bounds on the relative L2 error with Gaussian rows; short sums make the mean over few values vary.
double Tolerance(Compute compute) {
  switch (compute) {
    case Compute::kFp32:
      return 2e-6;
    case Compute::kBf16:
      return 6e-3;
    case Compute::kInt8:
      return 3e-2;
    default:
      return 5e-4;
  }
}

const char* Name(Direction direction) { return direction == Direction::kForward ? "forward" : "gradient"; }

void Describe(CpuPath path, Compute compute, Direction direction, int64_t m, int64_t k, int64_t n) {
  Context() = Concat(CpuPathName(path), " ", ComputeName(compute), " ", Name(direction), " M=", m, " K=", k,
                     " N=", n);
}

constexpr Direction kDirections[] = {Direction::kForward, Direction::kGradient};

template <typename Body>
void ForEachKernel(const Body& body) {
  for (CpuPath path : SupportedCpuPaths()) {
    for (Compute compute : kComputes) {
      for (Direction direction : kDirections) body(path, compute, direction);
    }
  }
}

void CheckShape(int64_t m, int64_t k, int64_t n, bool bias) {
  const Weight w(k, n, 7);
  const PackedWeight packed(w.source());
  ThreadPool pool(2);
  for (Direction direction : kDirections) {
    const std::vector<float> in = RandomRows(m, direction == Direction::kForward ? k : n, 11);
    const bool with_bias = bias && direction == Direction::kForward;
    const std::vector<double> expected = Reference(w, direction, in, m, with_bias);
    for (CpuPath path : SupportedCpuPaths()) {
      for (Compute compute : kComputes) {
        Describe(path, compute, direction, m, k, n);
        const std::vector<float> actual =
            RunGemm(Int8Gemm(path, compute), packed, w, direction, in, m, with_bias, pool);
        EXPECT_AT_MOST(RelativeError(actual, expected), Tolerance(compute));
      }
    }
  }
}

constexpr int64_t kSizes[] = {0, 1, 3, 16, 17, 63, 64, 65, 127, 128, 129, 160};

TEST(EveryKernelMatchesFloat64OverOddWeights) {
  for (int64_t k : kSizes) {
    for (int64_t n : kSizes) CheckShape(5, k, n, true);
  }
}

TEST(EveryKernelMatchesFloat64OverRowCounts) {
  for (int64_t m : {0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 16, 17, 18, 63, 64, 65, 127, 129, 400}) {
    CheckShape(m, 160, 129, m % 2 == 0);
  }
}

// Sums longer than one chunk of each kind, and 1376 = 21.5 panels.
TEST(EveryKernelMatchesFloat64OverLongSums) {
  CheckShape(7, 1376, 48, true);
  CheckShape(7, 48, 1376, true);
  CheckShape(3, 8330, 40, true);
  CheckShape(19, 4100, 17, true);
  CheckShape(3, 40, 8330, false);
  CheckShape(19, 17, 4100, false);
}

TEST(AutoErrsLessThanBf16) {
  const Weight w(512, 256, 3);
  const PackedWeight packed(w.source());
  Serial serial;
  const std::vector<float> in = RandomRows(64, 512, 5);
  const std::vector<double> expected = Reference(w, Direction::kForward, in, 64, false);
  for (CpuPath path : SupportedCpuPaths()) {
    const auto error = [&](Compute compute) {
      const Int8Gemm gemm(path, compute);
      return RelativeError(RunGemm(gemm, packed, w, Direction::kForward, in, 64, false, serial), expected);
    };
    Describe(path, Compute::kAuto, Direction::kForward, 64, 512, 256);
    EXPECT_AT_MOST(error(Compute::kAuto), error(Compute::kBf16));
  }
}

// Extremes: q = -128 everywhere against rows of the largest magnitude, over the longest chunk.
TEST(NothingSaturatesAtTheExtremes) {
  for (int fill : {-128, 127}) {
    for (auto [k, n] : {std::pair<int64_t, int64_t>{4096, 20}, {20, 4096}}) {
      Weight w(k, n, 1);
      for (int8_t& q : w.q) q = static_cast<int8_t>(fill);
      for (float& scale : w.scale) scale = 0.5f;
      const PackedWeight packed(w.source());
      Serial serial;
      ForEachKernel([&](CpuPath path, Compute compute, Direction direction) {
        for (float x : {1.0f, -1.0f}) {
          const int64_t m = 20;
          const std::vector<float> in(static_cast<size_t>(m * (direction == Direction::kForward ? k : n)), x);
          Describe(path, compute, direction, m, k, n);
          const auto actual = RunGemm(Int8Gemm(path, compute), packed, w, direction, in, m, false, serial);
          EXPECT_AT_MOST(RelativeError(actual, Reference(w, direction, in, m, false)), 1e-6);
        }
      });
    }
  }
}

// Outlier columns are what integer rows are worst at: bounds as the study of these modes found them.
TEST(OutlierColumnsStayWithinTheKnownError) {
  const int64_t m = 24, k = 1024, n = 96;
  const Weight w(k, n, 9);
  const PackedWeight packed(w.source());
  std::vector<float> in = RandomRows(m, k, 13);
  for (int64_t r = 0; r < m; ++r) {
    for (int64_t c = 0; c < 8; ++c) in[static_cast<size_t>(r * k + c * 97)] *= 100;
  }
  const std::vector<double> expected = Reference(w, Direction::kForward, in, m, false);
  Serial serial;
  for (CpuPath path : SupportedCpuPaths()) {
    for (Compute compute : kComputes) {
      Describe(path, compute, Direction::kForward, m, k, n);
      const double limit = compute == Compute::kInt8 ? 0.12 : compute == Compute::kFp32 ? 2e-6 : 4e-3;
      const auto actual =
          RunGemm(Int8Gemm(path, compute), packed, w, Direction::kForward, in, m, false, serial);
      EXPECT_AT_MOST(RelativeError(actual, expected), limit);
    }
  }
}

TEST(NotFiniteRowsStayApart) {
  const int64_t k = 200, n = 100;
  const Weight w(k, n, 2);
  const PackedWeight packed(w.source());
  Serial serial;
  for (float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    for (int64_t m : {3, 40}) {
      ForEachKernel([&](CpuPath path, Compute compute, Direction direction) {
        const int64_t width = direction == Direction::kForward ? k : n, outputs = k + n - width;
        std::vector<float> in = RandomRows(m, width, 4);
        in[static_cast<size_t>(width + 70)] = bad;
        Describe(path, compute, direction, m, k, n);
        const auto out = RunGemm(Int8Gemm(path, compute), packed, w, direction, in, m, false, serial);
        for (int64_t i = 0; i < m * outputs; ++i) {
          const float value = out[static_cast<size_t>(i)];
          const bool in_bad_row = i / outputs == 1;
          EXPECT_EQ(std::isfinite(value), !in_bad_row);
          if (in_bad_row && std::isnan(bad)) EXPECT_TRUE(std::isnan(value));
        }
      });
    }
  }
}

TEST(TinyAndZeroRowsGiveNoNan) {
  const Weight w(64, 64, 2);
  const PackedWeight packed(w.source());
  Serial serial;
  for (float value : {0.0f, 1e-42f, 1e-36f, 1e-30f, 1e30f}) {
    ForEachKernel([&](CpuPath path, Compute compute, Direction direction) {
      Describe(path, compute, direction, 2, 64, 64);
      const std::vector<float> in(128, value);
      for (float y : RunGemm(Int8Gemm(path, compute), packed, w, direction, in, 2, false, serial)) {
        EXPECT_TRUE(std::isfinite(y));
      }
    });
  }
}

TEST(ThreadCountDoesNotChangeBits) {
  const Weight w(700, 330, 21);
  const PackedWeight packed(w.source());
  Serial one;
  ThreadPool two(2), three(3);
  for (int64_t m : {1, 4, 50, 500}) {
    ForEachKernel([&](CpuPath path, Compute compute, Direction direction) {
      const std::vector<float> in = RandomRows(m, direction == Direction::kForward ? w.k : w.n, 6);
      const Int8Gemm gemm(path, compute);
      Describe(path, compute, direction, m, w.k, w.n);
      const auto expected = RunGemm(gemm, packed, w, direction, in, m, false, one);
      EXPECT_TRUE(RunGemm(gemm, packed, w, direction, in, m, false, two) == expected);
      EXPECT_TRUE(RunGemm(gemm, packed, w, direction, in, m, false, three) == expected);
    });
  }
}

// fp16 on both sides gives what fp32 gives on the same values, rounded once.
TEST(HalfRowsEqualRoundedFloatRows) {
  const Weight w(130, 75, 8);
  const PackedWeight packed(w.source());
  ThreadPool pool(2);
  for (int64_t m : {1, 5, 50}) {
    ForEachKernel([&](CpuPath path, Compute compute, Direction direction) {
      std::vector<float> in = RandomRows(m, direction == Direction::kForward ? w.k : w.n, 6);
      std::vector<uint16_t> half_in;
      for (float& value : in) {
        half_in.push_back(FloatToHalf(value));
        value = HalfToFloat(half_in.back());
      }
      const Int8Gemm gemm(path, compute);
      const auto expected = RunGemm(gemm, packed, w, direction, in, m, false, pool);
      std::vector<uint16_t> half_out(expected.size());
      GemmCall call{direction, Element::kHalf, &packed,         w.scale.data(),
                    nullptr,   half_in.data(), half_out.data(), m};
      gemm.Run(call, pool);
      Describe(path, compute, direction, m, w.k, w.n);
      for (size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(half_out[i], FloatToHalf(expected[i]));
    });
  }
}

}  // namespace
}  // namespace ortqlora::test

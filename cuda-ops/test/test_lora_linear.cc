#include "common/error.h"
#include "ops/lora_linear/lora_linear_cpu.h"
#include "test/float64.h"
#include "test/matmul_int8_reference.h"
#include "test/test.h"
#include "test/thread_pool.h"

namespace ortqlora::test {
namespace {

double Tolerance(Compute compute) {
  switch (compute) {
    case Compute::kFp32:
      return 2e-6;
    case Compute::kInt8:
      return 3e-2;
    case Compute::kBf16:
      return 8e-3;
    default:
      return 1e-3;
  }
}

double LowRankTolerance(Compute compute) {
  return compute == Compute::kBf16 || compute == Compute::kInt8 ? 1e-2 : 3e-6;
}

struct Layer {
  Weight w;
  int64_t rows, rank;
  float scaling = 0.75f;
  std::vector<float> x, dy, a, b;

  Layer(int64_t rows_in, int64_t k, int64_t n, int64_t rank_in)
      : w(k, n, 3),
        rows(rows_in),
        rank(rank_in),
        x(RandomRows(rows, k, 4)),
        dy(RandomRows(rows, n, 5)),
        a(RandomRows(rank, k, 6)),
        b(RandomRows(n, rank, 7)) {}

  LoraWeights Weights(const PackedWeight& packed) const {
    return {&packed, w.scale.data(), a.data(), b.data(), rank, scaling};
  }

  Doubles Narrow() const {
    Doubles h = Product(rows, w.k, rank, At(x, w.k), Swapped(a, w.k));
    for (double& value : h) value *= scaling;
    return h;
  }

  Doubles NarrowGradient() const {
    Doubles dh = Product(rows, w.n, rank, At(dy, w.n), At(b, rank));
    for (double& value : dh) value *= scaling;
    return dh;
  }
};

Doubles Sum(Doubles left, const Doubles& right) {
  for (size_t i = 0; i < left.size(); ++i) left[i] += right[i];
  return left;
}

struct Results {
  std::vector<float> y, h, da, db, dx;

  explicit Results(const Layer& layer) {
    y = NaNs(layer.rows * layer.w.n);
    h = NaNs(layer.rows * layer.rank);
    da = NaNs(layer.rank * layer.w.k);
    db = NaNs(layer.w.n * layer.rank);
    dx = NaNs(layer.rows * layer.w.k);
  }
};

// `start` holds what y, dA, dB and dx are added to.
Results Run(const Layer& layer, CpuPath path, Compute compute, Parallel& parallel,
            const Results* start = nullptr) {
  const PackedWeight packed(layer.w.source());
  const LoraLinearKernel kernel(path, compute);
  Results results(layer);
  LoraStarts starts;
  if (start != nullptr) {
    results.db = start->db;  // in place
    starts = {start->dx.data(), start->da.data(), results.db.data()};
  }
  kernel.Forward(layer.Weights(packed), layer.x.data(), layer.rows, layer.w.bias.data(),
                 start == nullptr ? nullptr : start->y.data(), results.y.data(), results.h.data(), parallel);
  kernel.Backward(layer.Weights(packed), layer.dy.data(), layer.x.data(), results.h.data(), layer.rows,
                  starts, results.da.data(), results.db.data(), results.dx.data(), parallel);
  return results;
}

void CheckLayer(int64_t rows, int64_t k, int64_t n, int64_t rank) {
  const Layer layer(rows, k, n, rank);
  const Doubles h = layer.Narrow(), dh = layer.NarrowGradient();
  const Doubles y = Sum(Reference(layer.w, Direction::kForward, layer.x, rows, true),
                        Product(rows, rank, n, At(h, rank), Swapped(layer.b, rank)));
  const Doubles dx = Sum(Reference(layer.w, Direction::kGradient, layer.dy, rows, false),
                         Product(rows, rank, k, At(dh, rank), At(layer.a, k)));
  const Doubles da = Product(rank, rows, k, Swapped(dh, rank), At(layer.x, k));
  const Doubles db = Product(n, rows, rank, Swapped(layer.dy, n), At(h, rank));
  ThreadPool pool(2);
  for (CpuPath path : SupportedCpuPaths()) {
    for (Compute compute : kComputes) {
      Context() = Concat(CpuPathName(path), " ", ComputeName(compute), " rows=", rows, " K=", k, " N=", n,
                         " rank=", rank);
      const Results actual = Run(layer, path, compute, pool);
      const bool exact =
          compute == Compute::kFp32 || (compute == Compute::kAuto && path == CpuPath::kPortable);
      EXPECT_AT_MOST(RelativeError(actual.y, y), exact ? 2e-6 : Tolerance(compute));
      EXPECT_AT_MOST(RelativeError(actual.dx, dx), exact ? 2e-6 : Tolerance(compute));
      EXPECT_AT_MOST(RelativeError(actual.h, h), LowRankTolerance(compute));
      EXPECT_AT_MOST(RelativeError(actual.da, da), LowRankTolerance(compute));
      EXPECT_AT_MOST(RelativeError(actual.db, db), LowRankTolerance(compute));
    }
  }
}

TEST(ForwardAndBackwardMatchFloat64) {
  CheckLayer(1, 1, 2, 1);
  CheckLayer(7, 33, 19, 3);
  CheckLayer(50, 130, 70, 16);
  CheckLayer(49, 64, 192, 8);
  CheckLayer(65, 100, 129, 67);
  CheckLayer(530, 31, 80, 5);
}

TEST(LongReductionsAreCutAndAdded) { CheckLayer(3, 4500, 600, 17); }

// Wide rows are converted a block of some hundreds at a time; sums over rows go on from block to block.
TEST(BlocksOfWideRowsAreAdded) {
  CheckLayer(2000, 1100, 32, 4);
  CheckLayer(2000, 32, 1100, 4);
}

TEST(NoRowsGiveZeroGradients) {
  const Layer layer(0, 40, 24, 4);
  Serial serial;
  for (CpuPath path : SupportedCpuPaths()) {
    Context() = CpuPathName(path);
    const Results results = Run(layer, path, Compute::kFp32, serial);
    for (float value : results.da) EXPECT_EQ(value, 0.0f);
    for (float value : results.db) EXPECT_EQ(value, 0.0f);
  }
}

TEST(ThreadsDoNotChangeBits) {
  const Layer layer(300, 200, 150, 12);
  ThreadPool pool(3);
  Serial serial;
  for (Compute compute : kComputes) {
    Context() = ComputeName(compute);
    const Results one = Run(layer, SelectCpuPath(), compute, serial),
                  three = Run(layer, SelectCpuPath(), compute, pool);
    EXPECT_TRUE(one.y == three.y && one.h == three.h && one.dx == three.dx && one.da == three.da &&
                one.db == three.db);
  }
}

TEST(AddendsAreAddedToEveryResult) {
  const Layer layer(70, 200, 150, 12);
  ThreadPool pool(2);
  Results start(layer);
  start.y = RandomRows(layer.rows, layer.w.n, 11);
  start.da = RandomRows(layer.rank, layer.w.k, 12);
  start.db = RandomRows(layer.w.n, layer.rank, 13);
  start.dx = RandomRows(layer.rows, layer.w.k, 14);
  for (CpuPath path : SupportedCpuPaths()) {
    Context() = CpuPathName(path);
    const Results plain = Run(layer, path, Compute::kFp32, pool);
    const Results added = Run(layer, path, Compute::kFp32, pool, &start);
    const auto check = [](const std::vector<float>& from, const std::vector<float>& addend,
                          const std::vector<float>& to) {
      std::vector<float> sum = from;
      for (size_t i = 0; i < sum.size(); ++i) sum[i] += addend[i];
      EXPECT_TRUE(sum == to);
    };
    check(plain.y, start.y, added.y);
    check(plain.da, start.da, added.da);
    check(plain.db, start.db, added.db);
    check(plain.dx, start.dx, added.dx);
    EXPECT_TRUE(plain.h == added.h);
  }
}

TEST(GradientOfTheInputMayBeLeftOut) {
  const Layer layer(60, 70, 80, 8);
  const PackedWeight packed(layer.w.source());
  Serial serial;
  const Results all = Run(layer, SelectCpuPath(), Compute::kFp32, serial);
  Results some(layer);
  LoraLinearKernel(SelectCpuPath(), Compute::kFp32)
      .Backward(layer.Weights(packed), layer.dy.data(), layer.x.data(), all.h.data(), layer.rows, {},
                some.da.data(), some.db.data(), nullptr, serial);
  EXPECT_TRUE(some.da == all.da && some.db == all.db);
}

}  // namespace
}  // namespace ortqlora::test

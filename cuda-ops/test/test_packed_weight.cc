#include <cstdlib>
#include <fstream>
#include <iterator>

#include "common/error.h"
#include "ops/dequantize_int8/dequantize_int8_cpu.h"
#include "ops/matmul_int8/weight_registry.h"
#include "test/matmul_int8_reference.h"
#include "test/test.h"

namespace ortqlora::test {
namespace {

// A weight in layout panel64, in memory that kernels can read.
struct Panels {
  explicit Panels(const WeightSource& from)
      : source{nullptr, WeightLayout::kPanel64, from.k, from.n}, buffer(static_cast<size_t>(source.size())) {
    PackPanel64(from, reinterpret_cast<uint8_t*>(buffer.data()));
    source.data = buffer.data();
  }

  WeightSource source;
  AlignedBuffer buffer;
};

constexpr int64_t kSizes[] = {0, 1, 15, 16, 17, 63, 64, 65, 130};

TEST(AllLayoutsPackIntoTheSameBytes) {
  for (int64_t k : kSizes) {
    for (int64_t n : kSizes) {
      Context() = Concat("K=", k, " N=", n);
      const Weight w(k, n, 3);
      const std::vector<uint8_t> eetq = w.Eetq();
      const PackedWeight packed(w.source());
      EXPECT_TRUE(packed.Holds(w.source()));
      const WeightSource source{eetq.data(), WeightLayout::kEetqSm80, k, n};
      EXPECT_TRUE(packed.Holds(source));
      WeightSource tiles{nullptr, WeightLayout::kTile64, k, n};
      EXPECT_EQ(tiles.size(), RoundUp(k, 128) * RoundUp(n, 128));
      std::vector<uint8_t> from_plain(static_cast<size_t>(tiles.size())), from_eetq = from_plain;
      PackTile64(w.source(), from_plain.data());
      PackTile64(source, from_eetq.data());
      EXPECT_TRUE(from_plain == from_eetq);
      tiles.data = from_plain.data();
      EXPECT_TRUE(packed.Holds(tiles));
      const Panels panels(tiles);
      EXPECT_EQ(panels.source.size(), packed.size());
      EXPECT_TRUE(packed.Holds(panels.source));
      const auto in_place = PackedWeight::InPlace(panels.source);
      EXPECT_TRUE(in_place.has_value() && in_place->panel(0) == panels.source.data);
      EXPECT_TRUE(in_place->Holds(source));
      EXPECT_TRUE(!PackedWeight::InPlace(tiles).has_value());
    }
  }
}

TEST(PanelsOffACacheLineAreCopied) {
  const Weight w(64, 64, 3);
  AlignedBuffer buffer(64 * 64 + 1);
  auto* shifted = reinterpret_cast<uint8_t*>(buffer.data()) + 1;
  PackPanel64(w.source(), shifted);
  const WeightSource source{shifted, WeightLayout::kPanel64, 64, 64};
  EXPECT_TRUE(!PackedWeight::InPlace(source).has_value());
  EXPECT_TRUE(PackedWeight(source).Holds(w.source()));
}

TEST(PackingPadsWithZeros) {
  const Weight w(5, 3, 3);
  const PackedWeight packed(w.source());
  EXPECT_EQ(packed.padded_k(), 16);
  EXPECT_EQ(packed.padded_n(), 16);
  for (int64_t k = 0; k < 16; ++k) {
    for (int64_t n = 0; n < 16; ++n) {
      const int expected = k < 5 && n < 3 ? w.q[static_cast<size_t>(k * 3 + n)] + 128 : 128;
      EXPECT_EQ(int{packed.panel(0)[(k / 4 * 16 + n) * 4 + k % 4]}, expected);
    }
  }
}

TEST(OneDifferentByteIsAnotherWeight) {
  Weight w(70, 90, 3);
  const auto first = SharedPackedWeight(w.source());
  const std::vector<int8_t> copy = w.q;
  EXPECT_TRUE(SharedPackedWeight({copy.data(), WeightLayout::kPlain, 70, 90}) == first);
  w.q.back() = static_cast<int8_t>(w.q.back() ^ 1);
  EXPECT_TRUE(SharedPackedWeight(w.source()) != first);
  EXPECT_TRUE(!first->Holds(w.source()));
  EXPECT_TRUE(SharedPackedWeight({copy.data(), WeightLayout::kPlain, 90, 70}) != first);
}

TEST(TheLastUserFreesAPackedWeight) {
  const int64_t before = SharedPackedWeightUsage().count;
  const Weight w(64, 64, 4);
  auto first = SharedPackedWeight(w.source()), second = SharedPackedWeight(w.source());
  EXPECT_EQ(SharedPackedWeightUsage().count, before + 1);
  first.reset();
  EXPECT_EQ(SharedPackedWeightUsage().count, before + 1);
  second.reset();
  EXPECT_EQ(SharedPackedWeightUsage().count, before);
}

TEST(SizesThatCannotBeAreRefused) {
  EXPECT_THROWS((WeightSource{nullptr, WeightLayout::kPlain, -1, 4}.size()), "K = -1");
  EXPECT_THROWS((WeightSource{nullptr, WeightLayout::kPlain, int64_t{1} << 60, 4}.size()), "too large");
  EXPECT_THROWS((WeightSource{nullptr, WeightLayout::kEetqSm80, int64_t{1} << 40, int64_t{1} << 40}.size()),
                "too large");
}

// Identity dequantization: the product of the identity with the weight has DequantizeInt8's bits, in either
// direction and on every path.
TEST(DequantizeHasTheBitsOfTheIdentityProduct) {
  for (auto [k, n] : {std::pair<int64_t, int64_t>{600, 65},
                      {33, 640},
                      {1, 1},
                      {64, 128},
                      {1, 70},
                      {70, 1},
                      {0, 3},
                      {3, 0}}) {
    const Weight w(k, n, 12);
    std::vector<float> expected(static_cast<size_t>(k * n));
    Serial serial;
    Dequantize(w.source(), w.scale.data(), Element::kFloat, expected.data(), serial);
    const std::vector<uint8_t> eetq = w.Eetq();
    const WeightSource processed{eetq.data(), WeightLayout::kEetqSm80, k, n};
    std::vector<uint8_t> tiles(
        static_cast<size_t>(WeightSource{nullptr, WeightLayout::kTile64, k, n}.size()));
    PackTile64(w.source(), tiles.data());
    const Panels panels(w.source());
    for (const WeightSource& source :
         {processed, WeightSource{tiles.data(), WeightLayout::kTile64, k, n}, panels.source}) {
      std::vector<float> other(expected.size(), -1.0f);
      Dequantize(source, w.scale.data(), Element::kFloat, other.data(), serial);
      EXPECT_TRUE(other == expected);
    }
    const auto identity = [](int64_t size) {
      std::vector<float> matrix(static_cast<size_t>(size * size), 0.0f);
      for (int64_t i = 0; i < size; ++i) matrix[static_cast<size_t>(i * (size + 1))] = 1;
      return matrix;
    };
    const PackedWeight packed(w.source());
    for (CpuPath path : SupportedCpuPaths()) {
      Context() = Concat(CpuPathName(path), " K=", k, " N=", n);
      const Int8Gemm gemm(path, Compute::kFp32);
      EXPECT_TRUE(RunGemm(gemm, packed, w, Direction::kForward, identity(k), k, false, serial) == expected);
      const auto transposed = RunGemm(gemm, packed, w, Direction::kGradient, identity(n), n, false, serial);
      for (int64_t i = 0; i < k * n; ++i) {
        EXPECT_EQ(transposed[static_cast<size_t>(i % n * k + i / n)], expected[static_cast<size_t>(i)]);
      }
    }
  }
}

template <typename T>
std::vector<T> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  std::vector<T> values(bytes.size() / sizeof(T));
  if (!bytes.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

std::vector<float> Floats(const std::vector<uint16_t>& halves) {
  std::vector<float> values;
  for (uint16_t half : halves) values.push_back(HalfToFloat(half));
  return values;
}

// Vectors computed by EETQ itself: its packed bytes are read as its plain q, and both products agree.
TEST(EetqVectors) {
  const char* folder = std::getenv("ORTQLORA_FIXTURES");
  const std::string root = (folder != nullptr ? folder : ORTQLORA_DEFAULT_FIXTURES) + std::string("/eetq/");
  if (!std::ifstream(root + "manifest.json")) Skip("no EETQ vectors in " + root);
  struct Shape {
    const char* name;
    int64_t k, n;
  };
  int found = 0;
  for (const Shape& shape : {Shape{"k64_n64", 64, 64},
                             {"k128_n64", 128, 64},
                             {"k128_n192", 128, 192},
                             {"k256_n128", 256, 128},
                             {"edge_k64_n64", 64, 64}}) {
    for (const char* variant : {"", ".fp16in"}) {
      const std::string stem = root + shape.name;
      const auto q = ReadFile<int8_t>(stem + variant + ".q.i8");
      const auto packed_bytes = ReadFile<uint8_t>(stem + variant + ".sm80.i8");
      if (q.empty()) continue;
      ++found;
      Context() = Concat(shape.name, variant);
      EXPECT_EQ(static_cast<int64_t>(q.size()), shape.k * shape.n);
      EXPECT_EQ(packed_bytes.size(), q.size());
      const PackedWeight packed({packed_bytes.data(), WeightLayout::kEetqSm80, shape.k, shape.n});
      EXPECT_TRUE(packed.Holds({q.data(), WeightLayout::kPlain, shape.k, shape.n}));
      if (*variant == '\0') continue;

      Weight w(shape.k, shape.n, 1);
      w.q = q;
      w.scale = Floats(ReadFile<uint16_t>(stem + variant + ".scale.f16"));
      Serial serial;
      const Int8Gemm gemm(SelectCpuPath(), Compute::kFp32);
      for (Direction direction : {Direction::kForward, Direction::kGradient}) {
        const bool forward = direction == Direction::kForward;
        const auto in = Floats(ReadFile<uint16_t>(stem + (forward ? ".x.f16" : ".dy.f16")));
        const auto expected = ReadFile<float>(stem + (forward ? ".y.f32" : ".dx.f32"));
        const auto rows = static_cast<int64_t>(in.size()) / (forward ? shape.k : shape.n);
        const auto actual = RunGemm(gemm, packed, w, direction, in, rows, false, serial);
        // EETQ rounds each dequantized weight to fp16, this library does not.
        EXPECT_AT_MOST(RelativeError(actual, {expected.begin(), expected.end()}), 1e-3);
      }
    }
  }
  EXPECT_TRUE(found > 0);
}

}  // namespace
}  // namespace ortqlora::test

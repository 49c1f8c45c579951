// The int8 products on a CUDA device against float64, every kernel and every type; packing and dequantization
// against the CPU's, bit by bit.

#include "common/error.h"
#include "ops/dequantize_int8/dequantize_int8_cpu.h"
#include "ops/dequantize_int8/dequantize_int8_cuda.h"
#include "ops/matmul_int8/cuda/gemm_cuda.h"
#include "test/cuda/device_quantized.h"

namespace ortqlora::test {
namespace {

using cuda::DeviceGemmCall;
using cuda::GemmKernel;
using cuda::ScaleView;

struct Form {
  Element element;
  int terms;
  double limit;
};

constexpr Form kForms[] = {{Element::kHalf, 1, 2e-3},
                           {Element::kBfloat16, 1, 1e-2},
                           {Element::kFloat, 3, 2e-5},
                           {Element::kFloat, 2, 4e-5},
                           {Element::kFloat, 1, 5e-3}};

struct Choice {
  GemmKernel kernel;
  int tokens, split;
};

std::vector<Choice> Choices(const cuda::Device& device) {
  std::vector<Choice> choices = {{GemmKernel::kBest, 0, 0},
                                 {GemmKernel::kSm80, 16, 1},
                                 {GemmKernel::kSm80, 64, 2},
                                 {GemmKernel::kSm80, 128, 1},
                                 {GemmKernel::kSm80, 128, 3}};
  if (!device.hopper()) return choices;
  for (int tokens : {128, 256}) choices.push_back({GemmKernel::kSm90, tokens, 1});
  for (int tokens : {8, 16, 32, 64, 128})
    choices.push_back({GemmKernel::kSm90Small, tokens, 16 / tokens + 1});
  for (int split : {4, 8}) choices.push_back({GemmKernel::kSm90Small, 16, split});
  return choices;
}

std::string Name(const Choice& choice) {
  constexpr const char* kNames[] = {"best", "sm80", "sm90", "sm90 small"};
  return Concat(kNames[static_cast<int>(choice.kernel)], " tokens ", choice.tokens, " split ", choice.split);
}

void CheckProduct(const cuda::Device& device, const DeviceWeight& weight, Direction direction, int64_t rows,
                  bool bias, const std::vector<Choice>& choices) {
  const int64_t width = direction == Direction::kForward ? weight.host.k : weight.host.n;
  const int64_t out = weight.host.k + weight.host.n - width;
  for (const Form& form : kForms) {
    const std::vector<float> x = Rounded(form.element, RandomRows(rows, width, 11));
    const std::vector<double> expected = Reference(weight.host, direction, x, rows, bias);
    const DeviceArray in = DeviceArray::Of(form.element, x);
    for (const Choice& choice : choices) {
      Context() = Concat(direction == Direction::kForward ? "forward" : "gradient", " M ", rows, " K ",
                         weight.host.k, " N ", weight.host.n, " ", ElementName(form.element), " terms ",
                         form.terms, bias ? " bias " : " ", Name(choice));
      const DeviceArray result(static_cast<size_t>(rows * out * cuda::SizeOf(form.element)));
      DeviceGemmCall call;
      call.direction = direction;
      call.element = form.element;
      call.float_terms = form.terms;
      call.weight = weight.view();
      call.scale = weight.scales();
      call.bias = bias ? static_cast<const float*>(weight.bias.data()) : nullptr;
      call.in = in.data();
      call.out = result.data();
      call.rows = rows;
      call.frozen_weight = true;
      cuda::Check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
      cuda::GemmPlan plan = cuda::PlanGemm(call, device, choice.kernel, choice.tokens, choice.split);
      plan.every_lane_arrives = Small();
      const DeviceArray workspace(static_cast<size_t>(plan.workspace()));
      cuda::RunGemm(call, plan, device, workspace.data(), nullptr);
      EXPECT_AT_MOST(RelativeError(result.ReadFloats(form.element), expected), form.limit);
    }
  }
}

TEST(EveryKernelMatchesFloat64OverOddSizes) {
  const cuda::Device& device = DeviceOrSkip();
  const int64_t shapes[][2] = {{1, 1}, {7, 3}, {64, 64}, {100, 70}, {128, 128}, {130, 257}, {520, 384}};
  for (const auto& shape : shapes) {
    if (Small() && shape[0] != 130) continue;
    const DeviceWeight weight(shape[0], shape[1], 5);
    for (int64_t rows : {1, 3, 17, 130, 300}) {
      if (Small() && rows != 17 && rows != 300) continue;
      CheckProduct(device, weight, Direction::kForward, rows, rows % 2 == 1, Choices(device));
      CheckProduct(device, weight, Direction::kGradient, rows, false, Choices(device));
    }
  }
}

// Rows in int8: against float64 within the error of 8 bits, and to the accuracy of the results' type against
// the same product of rows rounded on the host.
TEST(Int8RowsMatchRoundedRows) {
  const cuda::Device& device = DeviceOrSkip();
  if (!device.hopper()) Skip("needs compute capability 9.0");
  const int64_t shapes[][2] = {{64, 64}, {100, 70}, {136, 264}, {520, 384}};
  for (const auto& shape : shapes) {
    const DeviceWeight weight(shape[0], shape[1], 5);
    for (int64_t rows : {1, 130, 520, 1100}) {
      if (Small() && (rows != 520 || shape[0] != 136)) continue;
      for (Direction direction : {Direction::kForward, Direction::kGradient}) {
        for (const auto& [element, limit] : {std::pair{Element::kHalf, 2e-3}, {Element::kBfloat16, 1e-2}}) {
          const bool forward = direction == Direction::kForward;
          Context() = Concat(forward ? "forward" : "gradient", " M ", rows, " K ", shape[0], " N ", shape[1],
                             " ", ElementName(element));
          const int64_t width = forward ? shape[0] : shape[1], out = forward ? shape[1] : shape[0];
          const std::vector<float> x = Rounded(element, RandomRows(rows, width, 11));
          std::vector<float> rounded = x;
          for (int64_t row = 0; row < rows; ++row) {
            float* const at = rounded.data() + row * width;
            // In the gradient what is rounded is the row times the scales.
            const auto scale = [&](int64_t i) {
              return forward ? 1.0f : weight.host.scale[static_cast<size_t>(i)];
            };
            float most = 0;
            for (int64_t i = 0; i < width; ++i) most = std::max(most, std::abs(at[i] * scale(i)));
            for (int64_t i = 0; i < width && most > 0; ++i) {
              at[i] = std::nearbyint(at[i] * scale(i) * (127.0f / most)) * (most / 127.0f) / scale(i);
            }
          }
          const DeviceArray in = DeviceArray::Of(element, x), int8 = weight.Int8(direction);
          const DeviceArray result(static_cast<size_t>(rows * out * cuda::SizeOf(element)));
          DeviceGemmCall call;
          call.direction = direction;
          call.element = element;
          call.weight = weight.view();
          call.scale = weight.scales();
          call.bias = forward ? static_cast<const float*>(weight.bias.data()) : nullptr;
          call.in = in.data();
          call.out = result.data();
          call.rows = rows;
          call.int8 = true;
          call.int8_weight = static_cast<const int8_t*>(int8.data());
          cuda::GemmPlan plan = cuda::PlanGemm(call, device, GemmKernel::kSm90Int8);
          plan.every_lane_arrives = Small();
          const DeviceArray workspace(static_cast<size_t>(plan.workspace()));
          cuda::RunGemm(call, plan, device, workspace.data(), nullptr);
          const std::vector<float> actual = result.ReadFloats(element);
          EXPECT_AT_MOST(RelativeError(actual, Reference(weight.host, direction, rounded, rows, forward)),
                         limit);
          EXPECT_AT_MOST(RelativeError(actual, Reference(weight.host, direction, x, rows, forward)), 2e-2);
        }
      }
    }
  }
}

TEST(Int8RowsThatAreNotFiniteGiveNan) {
  const cuda::Device& device = DeviceOrSkip();
  if (!device.hopper()) Skip("needs compute capability 9.0");
  const DeviceWeight weight(64, 64, 5);
  const DeviceArray int8 = weight.Int8(Direction::kForward);
  std::vector<float> x = RandomRows(3, 64, 1);
  x[64] = INFINITY;
  x[130] = NAN;
  const DeviceArray in = DeviceArray::Of(Element::kBfloat16, x), result(3 * 64 * 2);
  DeviceGemmCall call;
  call.weight = weight.view();
  call.scale = weight.scales();
  call.in = in.data();
  call.out = result.data();
  call.rows = 3;
  call.int8 = true;
  call.int8_weight = static_cast<const int8_t*>(int8.data());
  const cuda::GemmPlan plan = cuda::PlanGemm(call, device, GemmKernel::kSm90Int8);
  const DeviceArray workspace(static_cast<size_t>(plan.workspace()));
  cuda::RunGemm(call, plan, device, workspace.data(), nullptr);
  const std::vector<float> y = result.ReadFloats(Element::kBfloat16);
  for (size_t i = 0; i < y.size(); ++i) EXPECT_TRUE(std::isnan(y[i]) == (i >= 64));
}

TEST(TheBestKernelMatchesFloat64OnLargerShapes) {
  const cuda::Device& device = DeviceOrSkip();
  const std::vector<Choice> best = {{GemmKernel::kBest, 0, 0}};
  const DeviceWeight wide(384, 2304, 6), deep(2304, 264, 7);
  for (int64_t rows : {8, 40, 64, 100, 200, 520}) {
    if (Small() && rows % 64 != 0) continue;
    for (const DeviceWeight* weight : {&wide, &deep}) {
      CheckProduct(device, *weight, Direction::kForward, rows, true, best);
      CheckProduct(device, *weight, Direction::kGradient, rows, false, best);
    }
  }
}

TEST(EmptyProducts) {
  const cuda::Device& device = DeviceOrSkip();
  const std::vector<Choice> best = {{GemmKernel::kBest, 0, 0}};
  for (const auto& [k, n, rows] :
       {std::tuple{int64_t{0}, int64_t{40}, int64_t{3}}, {40, 0, 3}, {40, 24, 0}}) {
    const DeviceWeight weight(k, n, 5);
    CheckProduct(device, weight, Direction::kForward, rows, true, best);
    CheckProduct(device, weight, Direction::kGradient, rows, false, best);
  }
}

TEST(PackingEqualsTheCpusInEveryLayout) {
  DeviceOrSkip();
  for (const auto& [k, n] : {std::pair{1, 1}, {100, 70}, {128, 256}, {190, 65}}) {
    for (bool eetq : {false, true}) {
      Context() = Concat("K ", k, " N ", n, eetq ? " eetq" : " plain");
      const DeviceWeight weight(k, n, 3, eetq);
      std::vector<uint8_t> expected(static_cast<size_t>(cuda::BlockBytes(k, n)));
      PackTile64(weight.host.source(), expected.data());
      EXPECT_TRUE(weight.blocks.Read<uint8_t>() == expected);
    }
  }
}

TEST(DequantizationEqualsTheCpusBitByBit) {
  DeviceOrSkip();
  const DeviceWeight weight(190, 72, 4);
  Serial serial;
  std::vector<float> floats(190 * 72);
  std::vector<uint16_t> halves(190 * 72);
  Dequantize(weight.host.source(), weight.host.scale.data(), ortqlora::Element::kFloat, floats.data(),
             serial);
  Dequantize(weight.host.source(), weight.host.scale.data(), ortqlora::Element::kHalf, halves.data(), serial);
  const DeviceArray as_float(floats.size() * 4), as_half(floats.size() * 2), as_bf16(floats.size() * 2);
  cuda::LaunchDequantize(weight.view(), weight.scales().scale, Element::kFloat, as_float.data(), nullptr);
  cuda::LaunchDequantize(weight.view(), weight.scales().scale, Element::kHalf, as_half.data(), nullptr);
  cuda::LaunchDequantize(weight.view(), weight.scales().scale, Element::kBfloat16, as_bf16.data(), nullptr);
  EXPECT_TRUE(as_float.Read<float>() == floats);
  EXPECT_TRUE(as_half.Read<uint16_t>() == halves);
  EXPECT_TRUE(as_bf16.ReadFloats(Element::kBfloat16) == Rounded(Element::kBfloat16, floats));
}

TEST(RepeatedRunsGiveTheSameBits) {
  const cuda::Device& device = DeviceOrSkip();
  const DeviceWeight weight(1030, 1000, 9);
  const DeviceArray in = DeviceArray::Of(Element::kBfloat16, RandomRows(300, 1030, 2));
  for (int64_t rows : {1, 20, 100, 300}) {
    Context() = Concat("M ", rows);
    DeviceGemmCall call;
    call.weight = weight.view();
    call.scale = weight.scales();
    call.in = in.data();
    call.rows = rows;
    std::vector<uint16_t> first;
    for (int run = 0; run < 5; ++run) {
      const DeviceArray result(static_cast<size_t>(rows * 1000 * 2));
      call.out = result.data();
      cuda::GemmPlan plan = cuda::PlanGemm(call, device);
      plan.every_lane_arrives = Small();
      const DeviceArray workspace(static_cast<size_t>(plan.workspace()));
      cuda::RunGemm(call, plan, device, workspace.data(), nullptr);
      const std::vector<uint16_t> bits = result.Read<uint16_t>();
      if (run == 0) first = bits;
      EXPECT_TRUE(bits == first);
    }
  }
}

}  // namespace
}  // namespace ortqlora::test

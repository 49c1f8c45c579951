// LoraLinear and its gradient on a CUDA device against float64.

#include "common/error.h"
#include "ops/lora_linear/cuda/lora_linear_cuda.h"
#include "test/cuda/device_quantized.h"
#include "test/float64.h"

namespace ortqlora::test {
namespace {

constexpr std::pair<Element, double> kElements[] = {
    {Element::kFloat, 2e-5}, {Element::kHalf, 2e-3}, {Element::kBfloat16, 1e-2}};

Doubles Sum(Doubles a, const Doubles& b, double factor) {
  for (size_t i = 0; i < a.size(); ++i) a[i] += factor * b[i];
  return a;
}

struct Case {
  int64_t rows, k, n, rank;
};

// With `adds` every result is added to something: dB in place, dA from elsewhere. With `int8` the base's rows
// are rounded to 8 bits.
void CheckLora(const cuda::Device& device, const Case& size, Element element, double limit,
               bool separate = false, bool adds = false, bool int8 = false) {
  const float scaling = 1.75f;
  const DeviceWeight weight(size.k, size.n, 5);
  // Values that bf16 holds, so that the casts within round nothing in any element.
  const auto random = [&](int64_t rows, int64_t columns, uint32_t seed) {
    return Rounded(Element::kHalf, Rounded(Element::kBfloat16, RandomRows(rows, columns, seed)));
  };
  const std::vector<float> x = random(size.rows, size.k, 1), dy = random(size.rows, size.n, 2);
  const std::vector<float> a = random(size.rank, size.k, 3), b = random(size.n, size.rank, 4);
  const DeviceArray device_x = DeviceArray::Of(element, x), device_dy = DeviceArray::Of(element, dy);
  const DeviceArray device_a = DeviceArray::Of(a), device_b = DeviceArray::Of(b);
  const auto array = [&](int64_t count) {
    return DeviceArray(static_cast<size_t>(count * cuda::SizeOf(element)));
  };
  const DeviceArray y = array(size.rows * size.n), h = array(size.rows * size.rank),
                    dx = array(size.rows * size.k);
  const std::vector<float> y_start = random(size.rows, size.n, 11), dx_start = random(size.rows, size.k, 12);
  const std::vector<float> da_start = random(size.rank, size.k, 13), db_start = random(size.n, size.rank, 14);
  const DeviceArray device_y_start = DeviceArray::Of(element, y_start),
                    device_dx_start = DeviceArray::Of(element, dx_start);
  const DeviceArray device_da_start = DeviceArray::Of(da_start);
  const DeviceArray da(a.size() * 4), db = DeviceArray::Of(db_start);
  const auto started = [&](Doubles values, const std::vector<float>& start) {
    return adds ? Sum(std::move(values), Doubles(start.begin(), start.end()), 1) : values;
  };

  cuda::DeviceLoraCall call;
  call.a = static_cast<const float*>(device_a.data());
  call.b = static_cast<const float*>(device_b.data());
  call.rank = size.rank;
  call.scaling = scaling;
  call.separate = separate;
  call.base.element = element;
  call.base.weight = weight.view();
  call.base.scale = weight.scales();
  call.base.bias = static_cast<const float*>(weight.bias.data());
  call.base.rows = size.rows;
  call.base.in = device_x.data();
  call.base.out = y.data();
  if (adds) {
    call.base.addend = device_y_start.data();
    call.da_start = static_cast<const float*>(device_da_start.data());
    call.db_start = static_cast<const float*>(db.data());
  }
  const DeviceArray int8_forward = weight.Int8(Direction::kForward),
                    int8_back = weight.Int8(Direction::kGradient);
  call.base.int8 = int8;
  call.base.int8_weight = static_cast<const int8_t*>(int8_forward.data());
  const cuda::GemmKernel kernel = int8 ? cuda::GemmKernel::kSm90Int8 : cuda::GemmKernel::kBest;
  cuda::GemmPlan plan = cuda::PlanGemm(call.base, device, kernel);
  plan.every_lane_arrives = Small();
  const DeviceArray forward(static_cast<size_t>(cuda::LoraWorkspace(call, plan)));
  cuda::RunLoraForward(call, plan, device, h.data(), forward.data(), nullptr);
  const std::vector<float> narrow = h.ReadFloats(element);

  const auto product = [&](const auto& left, const auto& right, int64_t rows, int64_t reduction,
                           int64_t columns) { return Product(rows, reduction, columns, left, right); };
  const Doubles exact_h = product(At(x, size.k), Swapped(a, size.k), size.rows, size.k, size.rank);
  EXPECT_AT_MOST(RelativeError(narrow, Sum(Doubles(exact_h.size(), 0.0), exact_h, scaling)), limit);
  EXPECT_AT_MOST(
      RelativeError(
          y.ReadFloats(element),
          started(Sum(Reference(weight.host, Direction::kForward, x, size.rows, true),
                      product(At(exact_h, size.rank), Swapped(b, size.rank), size.rows, size.rank, size.n),
                      scaling),
                  y_start)),
      limit);

  call.base.direction = Direction::kGradient;
  call.base.bias = nullptr;
  call.base.in = device_dy.data();
  call.base.out = dx.data();
  if (adds) call.base.addend = device_dx_start.data();
  call.base.int8_weight = static_cast<const int8_t*>(int8_back.data());
  plan = cuda::PlanGemm(call.base, device, kernel);
  plan.every_lane_arrives = Small();
  const DeviceArray backward(static_cast<size_t>(cuda::LoraWorkspace(call, plan)));
  cuda::RunLoraBackward(call, plan, device, device_x.data(), h.data(), static_cast<float*>(da.data()),
                        static_cast<float*>(db.data()), backward.data(), nullptr);
  const Doubles dh = product(At(dy, size.n), At(b, size.rank), size.rows, size.n, size.rank);
  EXPECT_AT_MOST(
      RelativeError(
          dx.ReadFloats(element),
          started(Sum(Reference(weight.host, Direction::kGradient, dy, size.rows, false),
                      product(At(dh, size.rank), At(a, size.k), size.rows, size.rank, size.k), scaling),
                  dx_start)),
      limit);
  EXPECT_AT_MOST(
      RelativeError(
          da.Read<float>(),
          started(Sum(Doubles(a.size(), 0.0),
                      product(Swapped(dh, size.rank), At(x, size.k), size.rank, size.rows, size.k), scaling),
                  da_start)),
      limit);
  EXPECT_AT_MOST(RelativeError(db.Read<float>(), started(product(Swapped(dy, size.n), At(narrow, size.rank),
                                                                 size.n, size.rows, size.rank),
                                                         db_start)),
                 limit);
}

std::string Name(const Case& size, Element element) {
  return Concat(ElementName(element), " M ", size.rows, " K ", size.k, " N ", size.n, " r ", size.rank);
}

TEST(ForwardAndGradientsMatchFloat64) {
  const cuda::Device& device = DeviceOrSkip();
  for (const auto& [element, limit] : kElements) {
    for (const Case& size : {Case{1, 64, 64, 8}, {37, 100, 70, 4}, {130, 192, 264, 16}, {300, 256, 128, 1}}) {
      Context() = Name(size, element);
      CheckLora(device, size, element, limit);
    }
  }
}

// Ranks of no whole tile and of several steps, and one of no whole vector; row counts for each kernel of the
// int8 product.
TEST(BranchesOfEveryRankMatchFloat64) {
  const cuda::Device& device = DeviceOrSkip();
  for (const auto& [element, limit] : kElements) {
    if (element == Element::kFloat) continue;
    for (const Case& size : {Case{5, 136, 72, 3},
                             {12, 512, 256, 64},
                             {30, 264, 520, 24},
                             {70, 192, 320, 40},
                             {200, 1032, 128, 72},
                             {520, 128, 384, 160},
                             {1300, 256, 640, 32},
                             {4200, 64, 136, 16}}) {
      if (Small() && size.rows != 70 && size.rows != 520) continue;
      Context() = Name(size, element);
      CheckLora(device, size, element, limit);
    }
  }
}

TEST(SeparateProductsMatchFloat64) {
  const cuda::Device& device = DeviceOrSkip();
  Context() = "separate";
  CheckLora(device, {130, 192, 264, 16}, Element::kBfloat16, 1e-2, true);
}

// Row counts for each kernel of the int8 product, results of whole vectors and of none.
TEST(ResultsAreAddedToWhatIsGiven) {
  const cuda::Device& device = DeviceOrSkip();
  for (const auto& [element, limit] : kElements) {
    for (const Case& size : {Case{5, 136, 72, 8},
                             {37, 100, 71, 4},
                             {200, 1032, 128, 16},
                             {520, 384, 392, 16},
                             {1300, 256, 640, 32},
                             {300, 256, 128, 1}}) {
      if (Small() && size.rows != 37 && size.rows != 520) continue;
      Context() = Name(size, element);
      CheckLora(device, size, element, limit, false, true);
    }
  }
}

TEST(Int8RowsBesideABranchMatchFloat64) {
  const cuda::Device& device = DeviceOrSkip();
  if (!device.hopper()) Skip("needs compute capability 9.0");
  for (const Case& size : {Case{520, 384, 392, 16}, {1300, 256, 640, 72}, {600, 200, 130, 3}}) {
    if (Small() && size.rows != 520) continue;
    Context() = Name(size, Element::kBfloat16);
    CheckLora(device, size, Element::kBfloat16, 2e-2, false, true, true);
  }
}

TEST(TheSameCallGivesTheSameBits) {
  const cuda::Device& device = DeviceOrSkip();
  const int64_t rows = 3000, k = 256, n = 384, rank = 16;
  const DeviceWeight weight(k, n, 5);
  const auto random = [](int64_t count, int64_t columns, uint32_t seed) {
    return DeviceArray::Of(Element::kBfloat16, RandomRows(count, columns, seed));
  };
  const DeviceArray x = random(rows, k, 1), dy = random(rows, n, 2), h = random(rows, rank, 6);
  const DeviceArray a = DeviceArray::Of(RandomRows(rank, k, 3)), b = DeviceArray::Of(RandomRows(n, rank, 4));
  std::vector<std::vector<float>> first;
  for (int run = 0; run < 4; ++run) {
    const DeviceArray dx(static_cast<size_t>(rows * k * 2)), da(static_cast<size_t>(rank * k * 4)),
        db(static_cast<size_t>(rank * n * 4));
    cuda::DeviceLoraCall call;
    call.a = static_cast<const float*>(a.data());
    call.b = static_cast<const float*>(b.data());
    call.rank = rank;
    call.base.direction = Direction::kGradient;
    call.base.weight = weight.view();
    call.base.scale = weight.scales();
    call.base.rows = rows;
    call.base.in = dy.data();
    call.base.out = dx.data();
    cuda::GemmPlan plan = cuda::PlanGemm(call.base, device);
    plan.every_lane_arrives = Small();
    const DeviceArray workspace(static_cast<size_t>(cuda::LoraWorkspace(call, plan)));
    cuda::RunLoraBackward(call, plan, device, x.data(), h.data(), static_cast<float*>(da.data()),
                          static_cast<float*>(db.data()), workspace.data(), nullptr);
    const std::vector<std::vector<float>> results = {dx.ReadFloats(Element::kBfloat16), da.Read<float>(),
                                                     db.Read<float>()};
    if (run == 0) first = results;
    EXPECT_TRUE(results == first);
  }
}

}  // namespace
}  // namespace ortqlora::test

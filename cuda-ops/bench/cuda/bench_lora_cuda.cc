// A linear layer with its LoRA branch, forward and backward, beside its int8 product alone and cuBLAS's bf16
// product.
//
//   bench_lora_cuda [--shapes 2048x2048,...] [--rows 512,8192] [--rank 16]

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>

#include "bench/cuda/device_timer.h"
#include "common/cuda/cublas.h"
#include "common/half.h"
#include "ops/dequantize_int8/dequantize_int8_cuda.h"
#include "ops/lora_linear/cuda/lora_linear_cuda.h"

namespace ortqlora::bench {
namespace {

using cuda::Device, cuda::DeviceBuffer, cuda::DeviceLoraCall, cuda::Element, cuda::GemmPlan, cuda::ScaleView;

using Buffer = std::unique_ptr<DeviceBuffer>;
Buffer Allocate(int64_t bytes) { return std::make_unique<DeviceBuffer>(static_cast<size_t>(bytes)); }

template <typename T>
Buffer Upload(const std::vector<T>& values) {
  Buffer buffer = Allocate(static_cast<int64_t>(values.size() * sizeof(T)));
  cuda::Check(cudaMemcpy(buffer->data(), values.data(), buffer->size(), cudaMemcpyHostToDevice),
              "cudaMemcpy");
  return buffer;
}

std::vector<float> Random(int64_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> block(1 << 16), values(static_cast<size_t>(count));
  for (float& value : block) value = normal(random);
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = block[(i * 7 + i / block.size() * 13) % block.size()];
  return values;
}

Buffer RandomBf16(int64_t count, uint32_t seed) {
  std::vector<uint16_t> bits;
  for (float value : Random(count, seed)) bits.push_back(FloatToBf16(value));
  return Upload(bits);
}

// One set of everything that a layer reads or writes.
struct Copy {
  Buffer dense, blocks, x, dy, y, dx, h, a, b, da, db;
};

void Row(int64_t m, int64_t k, int64_t n, int64_t rank, cudaStream_t stream) {
  const Device& device = Device::Current();
  cuda::Cublas& cublas = cuda::Cublas::Get();
  std::mt19937 random(1);
  std::vector<int8_t> q(static_cast<size_t>(k * n));
  for (int8_t& value : q) value = static_cast<int8_t>(random());
  std::vector<float> scale(static_cast<size_t>(n));
  for (float& value : scale) value = 1e-3f * (1.0f + static_cast<float>(random() % 1000) / 1000.0f);
  const int64_t padded_k = RoundUp(k, kTile64Pad), padded_n = RoundUp(n, kTile64Pad);
  const Buffer plain = Upload(q), scales = Upload(scale), scale_memory = Allocate(ScaleView::Bytes(padded_n));
  cuda::LaunchPrepareScale(scales->data(), Element::kFloat, n, padded_n, scale_memory->data(), stream);
  const ScaleView view = ScaleView::Of(scale_memory->data(), padded_n);
  const int64_t bytes = m * (k + n) * 2 + k * n;
  const int copies = static_cast<int>(std::max<int64_t>(1, std::min<int64_t>(6, 150'000'000 / bytes)));
  std::vector<Copy> sets;
  for (int i = 0; i < copies; ++i) {
    Copy set;
    set.blocks = Allocate(cuda::BlockBytes(k, n));
    set.dense = Allocate(k * n * 2);
    cuda::LaunchPackWeight({plain->data(), WeightLayout::kPlain, k, n},
                           static_cast<uint8_t*>(set.blocks->data()), stream);
    cuda::LaunchDequantize({static_cast<uint8_t*>(set.blocks->data()), k, n, padded_k, padded_n}, view.scale,
                           Element::kBfloat16, set.dense->data(), stream);
    set.x = RandomBf16(m * k, 3);
    set.dy = RandomBf16(m * n, 4);
    set.a = Upload(Random(rank * k, 5));
    set.b = Upload(Random(rank * n, 6));
    set.y = Allocate(m * n * 2);
    set.dx = Allocate(m * k * 2);
    set.h = Allocate(m * rank * 2);
    set.da = Allocate(rank * k * 4);
    set.db = Allocate(rank * n * 4);
    sets.push_back(std::move(set));
  }
  cuda::Check(cudaStreamSynchronize(stream), "preparing");

  const int repeats = m >= 1024 ? 1 : 3;
  std::vector<std::unique_ptr<cuda::DeviceBuffer>> workspaces;
  std::vector<std::unique_ptr<Replay>> replays;
  const auto add = [&](const auto& work) {
    work(sets[0]);  // functions are set up outside of the capture
    cuda::Check(cudaStreamSynchronize(stream), "warming up");
    replays.push_back(std::make_unique<Replay>(stream, [&] {
      for (int repeat = 0; repeat < repeats; ++repeat) {
        for (const Copy& set : sets) work(set);
      }
    }));
  };
  for (const Direction direction : {Direction::kForward, Direction::kGradient}) {
    const bool forward = direction == Direction::kForward;
    const auto call_of = [&](const Copy& set, bool separate) {
      DeviceLoraCall call;
      call.a = static_cast<float*>(set.a->data());
      call.b = static_cast<float*>(set.b->data());
      call.rank = rank;
      call.scaling = 2;
      call.separate = separate;
      call.base.direction = direction;
      call.base.rows = m;
      call.base.frozen_weight = true;
      call.base.weight = {static_cast<uint8_t*>(set.blocks->data()), k, n, padded_k, padded_n};
      call.base.scale = view;
      call.base.in = (forward ? set.x : set.dy)->data();
      call.base.out = (forward ? set.y : set.dx)->data();
      return call;
    };
    const GemmPlan plan = PlanGemm(call_of(sets[0], false).base, device);
    workspaces.push_back(Allocate(LoraWorkspace(call_of(sets[0], false), plan)));
    void* const workspace = workspaces.back()->data();
    add([&, forward](const Copy& set) {
      cublas.Multiply(1, {Element::kBfloat16, (forward ? set.x : set.dy)->data(), m, forward ? k : n},
                      {Element::kBfloat16, set.dense->data(), k, n, !forward}, 0, Element::kBfloat16,
                      (forward ? set.y : set.dx)->data(), stream);
    });
    add([&, plan, workspace](const Copy& set) {
      RunGemm(call_of(set, false).base, plan, device, workspace, stream);
    });
    for (const bool separate : {true, false}) {
      add([&, plan, workspace, forward, separate](const Copy& set) {
        const DeviceLoraCall call = call_of(set, separate);
        if (forward) {
          RunLoraForward(call, plan, device, set.h->data(), workspace, stream);
        } else {
          RunLoraBackward(call, plan, device, set.x->data(), set.h->data(),
                          static_cast<float*>(set.da->data()), static_cast<float*>(set.db->data()), workspace,
                          stream);
        }
      });
    }
  }
  std::vector<Replay*> works;
  for (const auto& replay : replays) works.push_back(replay.get());
  std::vector<double> times = Interleave(works, 15);
  for (double& time : times) time /= repeats * static_cast<double>(copies);
  for (const int half : {0, 1}) {
    const double* of = times.data() + 4 * half;
    std::printf("| %lld x %lld | %lld | %s | %.1f | %.1f | %.1f | %.1f | %.2f | %.2f |\n",
                static_cast<long long>(k), static_cast<long long>(n), static_cast<long long>(m),
                half == 0 ? "forward" : "backward", of[0], of[1], of[2], of[3], of[2] / of[1], of[3] / of[1]);
  }
  std::fflush(stdout);
}

std::vector<int64_t> Numbers(const std::string& text) {
  std::vector<int64_t> numbers;
  for (const char* at = text.c_str(); *at != '\0';) {
    char* end = nullptr;
    numbers.push_back(std::strtoll(at, &end, 10));
    if (end == at || numbers.back() < 1) Fail("'", text, "' is no list of sizes.");
    at = *end == '\0' ? end : end + 1;
  }
  return numbers;
}

int Run(int argc, char** argv) {
  std::string shapes = "2048x2048,2048x512,2048x8192,8192x2048,4096x4096,4096x14336,14336x4096",
              rows = "512,8192";
  int64_t rank = 16;
  for (int i = 1; i < argc; i += 2) {
    const std::string option = argv[i];
    if (i + 1 == argc || (option != "--shapes" && option != "--rows" && option != "--rank")) {
      std::fprintf(stderr, "usage: bench_lora_cuda [--shapes KxN,...] [--rows M,...] [--rank R]\n");
      return 1;
    }
    if (option == "--shapes") shapes = argv[i + 1];
    if (option == "--rows") rows = argv[i + 1];
    if (option == "--rank") rank = Numbers(argv[i + 1])[0];
  }
  cudaStream_t stream;
  cuda::Check(cudaStreamCreate(&stream), "cudaStreamCreate");
  std::printf("%s, rank %lld; times in us\n\n", cuda::DescribeDevice(Device::Current().id).c_str(),
              static_cast<long long>(rank));
  std::printf(
      "| K x N | M | pass | cuBLAS bf16, product alone | int8, product alone | with branch, separate | with "
      "branch, "
      "fused | separate / alone | fused / alone |\n|---|---|---|---|---|---|---|---|---|\n");
  for (const int64_t m : Numbers(rows)) {
    const std::vector<int64_t> sizes = Numbers(shapes);
    for (size_t i = 0; i + 1 < sizes.size(); i += 2) Row(m, sizes[i], sizes[i + 1], rank, stream);
  }
  return 0;
}

}  // namespace
}  // namespace ortqlora::bench

int main(int argc, char** argv) {
  try {
    return ortqlora::bench::Run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
}

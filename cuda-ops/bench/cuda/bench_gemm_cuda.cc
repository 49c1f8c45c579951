// The int8 products beside cuBLAS bf16 on one device, replay by replay, over inputs that rotate through more
// memory than the L2 cache holds.
//
//   bench_gemm_cuda [--shapes 4096x4096,...] [--rows 1,16,...] [--all]
//
// --all times every kernel, tile and split, for choosing; otherwise the one a session takes. From 512 rows on
// the last column has products in int8 too (compute mode 'int8', which takes them where they are faster),
// with the pass that quantizes the rows, and how far its results are from the others (relative L2 distance
// over the first rows).

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>

#include "bench/cuda/device_timer.h"
#include "common/cuda/cublas.h"
#include "common/half.h"
#include "ops/dequantize_int8/dequantize_int8_cuda.h"
#include "ops/matmul_int8/cuda/gemm_cuda.h"
#include "ops/matmul_int8/cuda/int8_rows.h"

namespace ortqlora::bench {
namespace {

using cuda::CeilDiv, cuda::Device, cuda::DeviceBuffer, cuda::DeviceGemmCall, cuda::Element, cuda::GemmKernel,
    cuda::GemmPlan, cuda::ScaleView;

using Buffer = std::unique_ptr<DeviceBuffer>;
Buffer Allocate(int64_t bytes) { return std::make_unique<DeviceBuffer>(static_cast<size_t>(bytes)); }

Buffer Upload(const void* data, size_t bytes) {
  Buffer buffer = std::make_unique<DeviceBuffer>(bytes);
  cuda::Check(cudaMemcpy(buffer->data(), data, bytes, cudaMemcpyHostToDevice), "cudaMemcpy");
  return buffer;
}

Buffer RandomBf16(int64_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<uint16_t> block(1 << 16), values(static_cast<size_t>(count));
  for (uint16_t& value : block) value = FloatToBf16(normal(random));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = block[(i * 7 + i / block.size() * 13) % block.size()];
  return Upload(values.data(), values.size() * 2);
}

// One weight with everything that reads or writes it.
struct Copy {
  Buffer dense, blocks, int8_forward, int8_gradient, x, dy, y, dx;
};

struct Variant {
  std::string name;
  GemmKernel kernel;
  int tokens, split;
};

std::vector<Variant> Variants(const Device& device, int64_t m, bool all) {
  std::vector<Variant> variants = {{"best", GemmKernel::kBest, 0, 0}};
  if (!device.hopper()) return variants;
  if (m >= 512) variants.push_back({"int8 rows", GemmKernel::kSm90Int8, 256, 1});
  if (!all) return variants;
  if (m > 64) {
    for (int tokens : {128, 256}) variants.push_back({Concat("p", tokens), GemmKernel::kSm90, tokens, 1});
  }
  for (int tokens : {8, 16, 32, 64, 128}) {
    if (tokens * 8 < m || tokens >= 2 * m + 8) continue;
    for (int split : {1, 2, 4, 8}) {
      variants.push_back({Concat(tokens, "/", split), GemmKernel::kSm90Small, tokens, split});
    }
  }
  variants.push_back({"sm80", GemmKernel::kSm80, m <= 16 ? 16 : m <= 64 ? 64 : 128, 1});
  return variants;
}

class Bench {
 public:
  Bench(int64_t k, int64_t n, int64_t most_rows) : k_(k), n_(n), device_(Device::Current()) {
    cuda::Check(cudaStreamCreate(&stream_), "cudaStreamCreate");
    std::mt19937 random(1);
    std::vector<int8_t> q(static_cast<size_t>(k * n));
    for (size_t i = 0; i < q.size(); ++i) q[i] = static_cast<int8_t>(random());
    std::vector<float> scale(static_cast<size_t>(n));
    for (float& value : scale) value = 1e-3f * (1.0f + static_cast<float>(random() % 1000) / 1000.0f);
    const int64_t padded_k = RoundUp(k, kTile64Pad), padded_n = RoundUp(n, kTile64Pad);
    const Buffer plain = Upload(q.data(), q.size()), scales = Upload(scale.data(), scale.size() * 4);
    scale_memory_ = Allocate(ScaleView::Bytes(padded_n));
    cuda::LaunchPrepareScale(scales->data(), cuda::Element::kFloat, n, padded_n, scale_memory_->data(),
                             stream_);
    const int64_t bytes = most_rows * (k + n) * 2 + k * n;
    const int copies = static_cast<int>(std::max<int64_t>(1, std::min<int64_t>(6, 150'000'000 / bytes)));
    for (int i = 0; i < copies; ++i) {
      Copy copy;
      copy.blocks = Allocate(cuda::BlockBytes(k, n));
      copy.dense = Allocate(k * n * 2);
      cuda::LaunchPackWeight({plain->data(), WeightLayout::kPlain, k, n},
                             static_cast<uint8_t*>(copy.blocks->data()), stream_);
      cuda::LaunchDequantize({static_cast<uint8_t*>(copy.blocks->data()), k, n, padded_k, padded_n},
                             ScaleView::Of(scale_memory_->data(), padded_n).scale, Element::kBfloat16,
                             copy.dense->data(), stream_);
      const cuda::DeviceBlocks blocks{static_cast<uint8_t*>(copy.blocks->data()), k, n, padded_k, padded_n};
      copy.int8_forward = Allocate(cuda::Int8WeightBytes(blocks));
      copy.int8_gradient = Allocate(cuda::Int8WeightBytes(blocks));
      cuda::LaunchLayOutInt8(blocks, Direction::kForward, static_cast<int8_t*>(copy.int8_forward->data()),
                             stream_);
      cuda::LaunchLayOutInt8(blocks, Direction::kGradient, static_cast<int8_t*>(copy.int8_gradient->data()),
                             stream_);
      copy.x = RandomBf16(most_rows * k, 3);
      copy.dy = RandomBf16(most_rows * n, 4);
      copy.y = Allocate(most_rows * n * 2);
      copy.dx = Allocate(most_rows * k * 2);
      copies_.push_back(std::move(copy));
    }
    cuda::Check(cudaStreamSynchronize(stream_), "preparing");
  }

  void Row(int64_t m, Direction direction, bool all, cuda::Cublas& cublas) {
    const bool forward = direction == Direction::kForward;
    const std::vector<Variant> variants = Variants(device_, m, all);
    const int repeats = m >= 1024 ? 1 : 3;
    std::vector<std::unique_ptr<Replay>> replays;
    std::vector<Buffer> workspaces;
    const auto multiply = [&](const Copy& copy) {
      cublas.Multiply(1, {Element::kBfloat16, (forward ? copy.x : copy.dy)->data(), m, forward ? k_ : n_},
                      {Element::kBfloat16, copy.dense->data(), k_, n_, !forward}, 0, Element::kBfloat16,
                      (forward ? copy.y : copy.dx)->data(), stream_);
    };
    multiply(copies_[0]);
    replays.push_back(std::make_unique<Replay>(stream_, [&] {
      for (int repeat = 0; repeat < repeats; ++repeat) {
        for (const Copy& copy : copies_) multiply(copy);
      }
    }));
    GemmPlan best;
    std::vector<float> results;
    double distance = 0;
    for (const Variant& variant : variants) {
      DeviceGemmCall call;
      call.direction = direction;
      call.rows = m;
      call.frozen_weight = true;
      const auto run = [&](const Copy& copy, bool plan_only) {
        call.weight = {static_cast<uint8_t*>(copy.blocks->data()), k_, n_, RoundUp(k_, kTile64Pad),
                       RoundUp(n_, kTile64Pad)};
        call.scale = ScaleView::Of(scale_memory_->data(), RoundUp(n_, kTile64Pad));
        call.int8_weight = static_cast<int8_t*>((forward ? copy.int8_forward : copy.int8_gradient)->data());
        call.in = (forward ? copy.x : copy.dy)->data();
        call.out = (forward ? copy.y : copy.dx)->data();
        const GemmPlan plan = PlanGemm(call, device_, variant.kernel, variant.tokens, variant.split);
        if (plan_only) {
          if (variant.kernel == GemmKernel::kBest) best = plan;
          workspaces.push_back(Allocate(plan.workspace()));
        } else {
          RunGemm(call, plan, device_, workspaces.back()->data(), stream_);
        }
      };
      run(copies_[0], true);
      run(copies_[0], false);  // functions are set up outside of the capture
      cuda::Check(cudaStreamSynchronize(stream_), variant.name.c_str());
      if (variant.kernel == GemmKernel::kBest) results = FirstRows(direction);
      if (variant.kernel == GemmKernel::kSm90Int8) distance = Distance(FirstRows(direction), results);
      replays.push_back(std::make_unique<Replay>(stream_, [&] {
        for (int repeat = 0; repeat < repeats; ++repeat) {
          for (const Copy& copy : copies_) run(copy, false);
        }
      }));
    }
    std::vector<Replay*> works;
    for (const auto& replay : replays) works.push_back(replay.get());
    std::vector<double> times = Interleave(works, m >= 4096 ? 9 : 15);
    for (double& time : times) time /= repeats * static_cast<double>(copies_.size());
    const double ours = times[1], peer = times[0];
    constexpr const char* kNames[] = {"best", "sm80", "sm90", "small", "int8"};
    std::printf("| %lld x %lld | %s | %lld | %.1f | %.1f | %.2f | %.0f | %s %d/%d |",
                static_cast<long long>(k_), static_cast<long long>(n_), forward ? "forward" : "gradient",
                static_cast<long long>(m), peer, ours, peer / ours,
                2e-6 * static_cast<double>(m * k_ * n_) / ours, kNames[static_cast<int>(best.kernel)],
                best.tokens, best.split);
    for (size_t i = 1; i < variants.size(); ++i) {
      std::printf(" %s %.2f", variants[i].name.c_str(), peer / times[1 + i]);
    }
    if (distance > 0) std::printf(" (distance %.4f)", distance);
    std::printf("\n");
    std::fflush(stdout);
  }

 private:
  // Of the first copy's results.
  std::vector<float> FirstRows(Direction direction) const {
    constexpr int64_t kRows = 64;
    const bool forward = direction == Direction::kForward;
    std::vector<uint16_t> bits(static_cast<size_t>(kRows * (forward ? n_ : k_)));
    const Buffer& from = forward ? copies_[0].y : copies_[0].dx;
    bits.resize(std::min(bits.size(), from->size() / 2));
    cuda::Check(cudaMemcpy(bits.data(), from->data(), bits.size() * 2, cudaMemcpyDeviceToHost), "cudaMemcpy");
    std::vector<float> values;
    for (uint16_t value : bits) values.push_back(BitsFloat(static_cast<uint32_t>(value) << 16));
    return values;
  }

  static double Distance(const std::vector<float>& a, const std::vector<float>& b) {
    double difference = 0, size = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      difference += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
      size += double{b[i]} * b[i];
    }
    return std::sqrt(difference / size);
  }

  int64_t k_, n_;
  const Device& device_;
  cudaStream_t stream_ = nullptr;
  Buffer scale_memory_;
  std::vector<Copy> copies_;
};

std::vector<std::string> Split(const std::string& text, char separator) {
  std::vector<std::string> parts(1);
  for (char c : text) {
    if (c == separator) {
      parts.emplace_back();
    } else {
      parts.back().push_back(c);
    }
  }
  return parts;
}

int Run(int argc, char** argv) {
  std::string shapes = "4096x4096,4096x14336,14336x4096,2048x8192,8192x2048",
              rows = "1,16,32,64,128,256,512,1024,2048,8192";
  bool all = false;
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    if (option == "--all") {
      all = true;
    } else if (option == "--shapes" && i + 1 < argc) {
      shapes = argv[++i];
    } else if (option == "--rows" && i + 1 < argc) {
      rows = argv[++i];
    } else {
      std::fprintf(stderr, "usage: bench_gemm_cuda [--shapes KxN,...] [--rows M,...] [--all]\n");
      return 1;
    }
  }
  cuda::Cublas& cublas = cuda::Cublas::Get();
  std::printf("%s\n\n", cuda::DescribeDevice(Device::Current().id).c_str());
  std::printf("| K x N | direction | M | cuBLAS bf16 us | int8 us | cuBLAS / int8 | TFLOP/s | kernel |\n");
  std::printf("|---|---|---|---|---|---|---|---|\n");
  for (const std::string& shape : Split(shapes, ',')) {
    const std::vector<std::string> sizes = Split(shape, 'x');
    int64_t most = 1;
    for (const std::string& m : Split(rows, ',')) most = std::max<int64_t>(most, std::atoll(m.c_str()));
    // Small row counts rotate through many copies of the weight, large ones through few.
    for (bool small : {true, false}) {
      const int64_t limit = small ? std::min<int64_t>(most, 512) : most;
      Bench bench(std::atoll(sizes[0].c_str()), std::atoll(sizes[1].c_str()), limit);
      for (const std::string& m : Split(rows, ',')) {
        const int64_t count = std::atoll(m.c_str());
        if ((count <= 512) != small) continue;
        bench.Row(count, Direction::kForward, all, cublas);
        bench.Row(count, Direction::kGradient, all, cublas);
      }
      if (most <= 512) break;
    }
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

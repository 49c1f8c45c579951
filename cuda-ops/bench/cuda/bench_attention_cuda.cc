// Attention forward and backward on one device, in bf16.
//
//   bench_attention_cuda [--shapes BxHxGxSxD,...]
//
// Each shape runs under the causal rule, with the same rule as a float mask [B, 1, S, S], as exported
// decoders have it, and without either. benchmarks/gpu/attention.py times PyTorch's kernels over the same
// shapes.

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>

#include "bench/cuda/device_timer.h"
#include "common/cuda/device.h"
#include "common/error.h"
#include "common/half.h"
#include "ops/attention/cuda/attention_cuda.h"

namespace ortqlora::bench {
namespace {

using cuda::DeviceAttentionCall, cuda::DeviceBuffer, cuda::Element;

using Buffer = std::unique_ptr<DeviceBuffer>;

Buffer Allocate(int64_t bytes) { return std::make_unique<DeviceBuffer>(static_cast<size_t>(bytes)); }

template <typename T>
Buffer Upload(const std::vector<T>& values) {
  Buffer buffer = Allocate(static_cast<int64_t>(values.size() * sizeof(T)));
  cuda::Check(cudaMemcpy(buffer->data(), values.data(), buffer->size(), cudaMemcpyHostToDevice),
              "cudaMemcpy");
  return buffer;
}

Buffer RandomBf16(int64_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<uint16_t> block(1 << 16), values(static_cast<size_t>(count));
  for (uint16_t& value : block) value = FloatToBf16(normal(random));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = block[(i * 7 + i / block.size() * 13) % block.size()];
  return Upload(values);
}

enum class Visible { kCausal, kMask, kAll };

void Row(int64_t batch, int64_t heads, int64_t groups, int64_t length, int64_t size, Visible visible,
         cudaStream_t stream) {
  const int64_t queries = batch * heads * length * size, keys = batch * groups * length * size;
  const HeadStrides of_query{heads * length * size, size, heads * size};
  const HeadStrides of_key{groups * length * size, size, groups * size};
  DeviceAttentionCall call;
  call.element = Element::kBfloat16;
  call.shape = {batch,
                heads,
                groups,
                length,
                length,
                size,
                size,
                1.0f / std::sqrt(static_cast<float>(size)),
                visible == Visible::kCausal,
                of_query,
                of_key,
                of_key,
                of_query};
  Buffer mask;
  if (visible == Visible::kMask) {
    std::vector<float> added;
    for (int64_t i = 0; i < batch * length; ++i) {
      for (int64_t j = 0; j < length; ++j) added.push_back(j <= i % length ? 0.0f : -3.4028235e38f);
    }
    mask = Upload(added);
    call.mask.added = static_cast<float*>(mask->data());
    call.mask.batch = length * length;
    call.mask.query = length;
    call.mask.key = 1;
  }
  const Buffer q = RandomBf16(queries, 1), k = RandomBf16(keys, 2), v = RandomBf16(keys, 3),
               dy = RandomBf16(queries, 4), y = Allocate(queries * 2), dq = Allocate(queries * 2),
               dk = Allocate(keys * 2), dv = Allocate(keys * 2), lse = Allocate(batch * heads * length * 4);
  call.q = q->data();
  call.k = k->data();
  call.v = v->data();
  DeviceAttentionCall back = call;
  call.y_out = y->data();
  call.lse_out = static_cast<float*>(lse->data());
  back.y = y->data();
  back.lse = static_cast<float*>(lse->data());
  back.dy = dy->data();
  back.dq = dq->data();
  back.dk = dk->data();
  back.dv = dv->data();
  const Buffer forward_scratch = Allocate(AttentionWorkspace(call, false)),
               backward_scratch = Allocate(AttentionWorkspace(back, true));
  const auto forward = [&] { RunAttentionForward(call, forward_scratch->data(), stream); };
  const auto backward = [&] { RunAttentionBackward(back, backward_scratch->data(), stream); };
  forward();
  backward();  // functions are set up outside of the capture
  cuda::Check(cudaStreamSynchronize(stream), "attention");
  constexpr int kRepeats = 5;
  const auto repeat = [&](const auto& work) {
    return Replay(stream, [&] {
      for (int i = 0; i < kRepeats; ++i) work();
    });
  };
  Replay forwards = repeat(forward), backwards = repeat(backward);
  const std::vector<double> times = Interleave({&forwards, &backwards}, 15);
  const double first = times[0] / kRepeats, second = times[1] / kRepeats;
  const double operations =
      4e-6 * static_cast<double>(batch * heads * length * length * size) / (visible == Visible::kAll ? 1 : 2);
  std::printf("| %lld x %lld/%lld x %lld x %lld | %s | %.0f | %.0f | %.0f | %.0f | %.0f |\n",
              static_cast<long long>(batch), static_cast<long long>(heads), static_cast<long long>(groups),
              static_cast<long long>(length), static_cast<long long>(size),
              visible == Visible::kCausal ? "causal"
              : visible == Visible::kMask ? "causal mask"
                                          : "all",
              first, second, first + second, operations / first, 2.5 * operations / second);
  std::fflush(stdout);
}

int Run(int argc, char** argv) {
  std::string shapes = "8x32x32x1024x64,8x32x8x1024x64,4x32x8x1024x128,1x32x8x512x64";
  if (argc == 3 && std::string(argv[1]) == "--shapes") {
    shapes = argv[2];
  } else if (argc != 1) {
    std::fprintf(stderr, "usage: bench_attention_cuda [--shapes BxHxGxSxD,...]\n");
    return 1;
  }
  cudaStream_t stream;
  cuda::Check(cudaStreamCreate(&stream), "cudaStreamCreate");
  std::printf("%s\n\n", cuda::DescribeDevice(cuda::Device::Current().id).c_str());
  std::printf(
      "| batch x heads/groups x length x size | visible | forward us | backward us | both us | TFLOP/s "
      "forward | backward |\n");
  std::printf("|---|---|---|---|---|---|---|\n");
  for (char* shape = shapes.data(); *shape != '\0';) {
    int64_t sizes[5];
    for (int64_t& size : sizes) {
      char* end = shape;
      size = std::strtoll(shape, &end, 10);
      if (end == shape || size < 1) Fail("--shapes is ", shapes, ", expected BxHxGxSxD,...");
      shape = *end == '\0' ? end : end + 1;
    }
    for (Visible visible : {Visible::kCausal, Visible::kMask, Visible::kAll})
      Row(sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], visible, stream);
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

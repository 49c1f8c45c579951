#include "ops/attention/cuda/attention_cuda.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <limits>
#include <type_traits>

#include "common/cuda/check.h"
#include "common/cuda/device.h"
#include "ops/attention/cuda/attention_kernels.h"

namespace ortqlora::cuda {
namespace {

constexpr float kInverseLn2 = 1.4426950408889634f;
constexpr int64_t kAlignment = 256, kMostTiles = 12 * 1024;

int64_t Align(int64_t bytes) { return CeilDiv(bytes, kAlignment) * kAlignment; }

// Where the parts of the scratch memory begin.
struct Scratch {
  int64_t mask_batches = 1, mask_heads = 1, query_tiles, key_tiles;
  int64_t padded_queries;
  int64_t log_sum, delta, bytes;  // the kinds of the mask's tiles come first

  Scratch(const DeviceAttentionCall& call, bool backward)
      : query_tiles(CeilDiv(call.shape.queries, kMaskTile)),
        key_tiles(CeilDiv(call.shape.keys, kMaskTile)),
        padded_queries(query_tiles * kMaskTile) {
    if (call.mask.batch != 0) mask_batches = call.shape.batch;
    if (call.mask.head != 0) mask_heads = call.shape.heads;
    log_sum = call.mask.given() ? Align(mask_batches * mask_heads * query_tiles * key_tiles) : 0;
    const int64_t statistics =
        backward ? Align(call.shape.batch * call.shape.heads * padded_queries * int64_t{sizeof(float)}) : 0;
    delta = log_sum + statistics;
    bytes = delta + statistics;
  }
};

bool AreVectors(const void* data, const HeadStrides& strides, int64_t size) {
  return reinterpret_cast<uintptr_t>(data) % 16 == 0 && size % 8 == 0 && strides.batch % 8 == 0 &&
         strides.head % 8 == 0 && strides.position % 8 == 0;
}

AttentionArguments Arguments(const DeviceAttentionCall& call) {
  const AttentionShape& shape = call.shape;
  AttentionArguments arguments = {};
  arguments.mask = call.mask;
  arguments.q = call.q;
  arguments.k = call.k;
  arguments.v = call.v;
  arguments.y = call.y;
  arguments.dy = call.dy;
  arguments.y_out = call.y_out;
  arguments.lse_out = call.lse_out;
  arguments.dq = call.dq;
  arguments.dk = call.dk;
  arguments.dv = call.dv;
  arguments.q_strides = shape.q;
  arguments.k_strides = shape.k;
  arguments.v_strides = shape.v;
  arguments.y_strides = shape.y;
  arguments.batch = static_cast<int>(shape.batch);
  arguments.heads = static_cast<int>(shape.heads);
  arguments.groups = static_cast<int>(shape.groups);
  arguments.queries = static_cast<int>(shape.queries);
  arguments.keys = static_cast<int>(shape.keys);
  arguments.size = static_cast<int>(shape.size);
  arguments.value_size = static_cast<int>(shape.value_size);
  arguments.offset = arguments.keys - arguments.queries;
  arguments.causal = shape.causal;
  arguments.wide =
      AreVectors(call.q, shape.q, shape.size) && AreVectors(call.k, shape.k, shape.size) &&
      AreVectors(call.v, shape.v, shape.value_size) && AreVectors(call.y, shape.y, shape.value_size) &&
      AreVectors(call.y_out, shape.y, shape.value_size) && AreVectors(call.dy, shape.y, shape.value_size) &&
      AreVectors(call.dq, shape.q, shape.size) && AreVectors(call.dk, shape.k, shape.size) &&
      AreVectors(call.dv, shape.v, shape.value_size);
  arguments.every_lane_arrives = call.every_lane_arrives;
  arguments.scale = shape.scale;
  arguments.log2_scale = shape.scale * kInverseLn2;
  return arguments;
}

// Whether the kernels for compute capability 9.0 take the call.
bool OnHopper(const DeviceAttentionCall& call, const AttentionArguments& arguments) {
  constexpr int kLargest = 128;
  return call.hopper && arguments.wide && call.shape.queries > 0 && call.shape.keys > 0 &&
         std::min(arguments.size, arguments.value_size) > 0 &&
         std::max(arguments.size, arguments.value_size) <= kLargest && Device::Current().hopper();
}

void FindMaskTiles(const Scratch& scratch, void* workspace, AttentionArguments& arguments,
                   cudaStream_t stream) {
  if (!arguments.mask.given() || arguments.queries == 0 || arguments.keys == 0) return;
  auto* const kinds = static_cast<uint8_t*>(workspace);
  LaunchMaskTiles(arguments, static_cast<int>(scratch.mask_batches), static_cast<int>(scratch.mask_heads),
                  kinds, stream);
  const int64_t head = scratch.query_tiles * scratch.key_tiles;
  arguments.tiles.kinds = kinds;
  arguments.tiles.row = static_cast<int>(scratch.key_tiles);
  arguments.tiles.head = scratch.mask_heads > 1 ? head : 0;
  arguments.tiles.batch = scratch.mask_batches > 1 ? head * scratch.mask_heads : 0;
}

}  // namespace

int64_t AttentionWorkspace(const DeviceAttentionCall& call, bool backward) {
  const AttentionShape& shape = call.shape;
  constexpr int64_t kMostBlocks = 65535;
  if (std::max(shape.size, shape.value_size) > kLargestHead) {
    Fail("heads have ", std::max(shape.size, shape.value_size),
         " features, and the CUDA kernel takes at most ", kLargestHead, ". Use --ops portable.");
  }
  const Scratch scratch(call, backward);
  if (std::max(shape.batch, shape.heads) > kMostBlocks ||
      scratch.mask_batches * scratch.mask_heads > kMostBlocks ||
      std::max(shape.queries, shape.keys) > std::numeric_limits<int>::max() / 2 ||
      (call.mask.given() && scratch.key_tiles > kMostTiles)) {
    Fail("attention of ", shape.batch, " x ", shape.heads, " heads over ", shape.queries, " queries and ",
         shape.keys, " keys is too large for one call.");
  }
  return scratch.bytes;
}

void RunAttentionForward(const DeviceAttentionCall& call, void* workspace, cudaStream_t stream) {
  if (call.shape.batch == 0 || call.shape.heads == 0 || call.shape.queries == 0) return;
  AttentionArguments arguments = Arguments(call);
  FindMaskTiles(Scratch(call, false), workspace, arguments, stream);
  const bool hopper = OnHopper(call, arguments);
  switch (call.element) {
    case Element::kFloat:
      return LaunchAttentionForwardFloat(arguments, stream);
    case Element::kHalf:
      return hopper ? LaunchAttentionForwardSm90<__half>(arguments, stream)
                    : LaunchAttentionForwardSm80<__half>(arguments, stream);
    case Element::kBfloat16:
      return hopper ? LaunchAttentionForwardSm90<__nv_bfloat16>(arguments, stream)
                    : LaunchAttentionForwardSm80<__nv_bfloat16>(arguments, stream);
  }
}

void RunAttentionBackward(const DeviceAttentionCall& call, void* workspace, cudaStream_t stream) {
  if (call.shape.batch == 0 || call.shape.heads == 0) return;
  AttentionArguments arguments = Arguments(call);
  const Scratch scratch(call, true);
  FindMaskTiles(scratch, workspace, arguments, stream);
  auto* const log_sum = reinterpret_cast<float*>(static_cast<char*>(workspace) + scratch.log_sum);
  auto* const delta = reinterpret_cast<float*>(static_cast<char*>(workspace) + scratch.delta);
  arguments.log_sum = log_sum;
  arguments.delta = delta;
  arguments.padded_queries = static_cast<int>(scratch.padded_queries);
  const auto run = [&](auto* type, const auto& query_grad, const auto& key_grad) {
    using T = std::remove_pointer_t<decltype(type)>;
    if (arguments.queries != 0) {
      LaunchRowStatistics<T>(arguments, call.lse, log_sum, delta, stream);
      query_grad(arguments, stream);
    }
    if (arguments.keys != 0) key_grad(arguments, stream);
  };
  const bool hopper = OnHopper(call, arguments);
  const auto run_half = [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    hopper ? run(type, LaunchQueryGradSm90<T>, LaunchKeyGradSm90<T>)
           : run(type, LaunchQueryGradSm80<T>, LaunchKeyGradSm80<T>);
  };
  switch (call.element) {
    case Element::kFloat:
      return run(static_cast<float*>(nullptr), LaunchQueryGradFloat, LaunchKeyGradFloat);
    case Element::kHalf:
      return run_half(static_cast<__half*>(nullptr));
    case Element::kBfloat16:
      return run_half(static_cast<__nv_bfloat16*>(nullptr));
  }
}

}  // namespace ortqlora::cuda

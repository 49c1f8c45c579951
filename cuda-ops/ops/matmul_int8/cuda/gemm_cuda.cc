#include "ops/matmul_int8/cuda/gemm_cuda.h"

#include <algorithm>
#include <limits>

#include "common/cuda/check.h"
#include "ops/matmul_int8/cuda/gemm_kernels.h"
#include "ops/matmul_int8/cuda/int8_rows.h"
#include "ops/matmul_int8/cuda/prepare_rows.h"

namespace ortqlora::cuda {
namespace {

constexpr int64_t kStep = 64, kRowTile = 128;
constexpr int64_t kAlignment = 256;

// Columns from which a sum of int8 products could exceed 31 bits.
constexpr int64_t kInt8Columns = int64_t{1} << 17;
constexpr int kInt8Tokens = 256;

// Whether a product in int8, with the pass that quantizes the rows, is faster than one in bf16: where its
// large tiles fill the device nearly (measured on an H200; half a wave takes 0.5 to 0.9 of the speed of
// bf16).
bool RepaysInt8(int64_t rows, int64_t out, int multiprocessors) {
  return CeilDiv(out, kRowTile) * CeilDiv(rows, kInt8Tokens) * 10 >= multiprocessors * 9;
}

int64_t Int8RowBytes(const DeviceGemmCall& call, const GemmPlan& plan) {
  return RoundUp(call.rows * plan.padded_width, kAlignment);
}

bool Aligned16(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

// One wave of the device is the unit of time of a persistent kernel. A tile of 256 tokens takes 1.9 times as
// long as one of 128, with scales in the reduction 1.7 times (measured on an H100 over reductions of 2048 to
// 14336).
double WaveCost(int64_t rows_of_out, int64_t tokens, int tile, bool scaled, int multiprocessors) {
  const int64_t tiles = CeilDiv(rows_of_out, kRowTile) * CeilDiv(tokens, tile);
  const double tile_cost = tile == 128 ? 1.0 : scaled ? 1.7 : 1.9;
  return static_cast<double>(CeilDiv(tiles, multiprocessors)) * tile_cost;
}

// Measured on an H100 at M 1 to 512 (docs/benchmarks.md). A split keeps all blocks of a product in one wave.
void ChooseHopper(GemmPlan& plan, const DeviceGemmCall& call, int64_t rows_of_out, int64_t reduction,
                  bool scaled, int multiprocessors) {
  const int64_t row_tiles = CeilDiv(rows_of_out, kRowTile), m = call.rows;
  if (m <= 64) {
    plan.kernel = GemmKernel::kSm90Small;
    plan.tokens = m <= 8 ? 8 : m <= 16 ? 16 : m <= 32 ? 32 : 64;
    // Two blocks fit on a multiprocessor, but with scales over 64 tokens; then clusters of four and more that
    // need every multiprocessor do not all run at once.
    const bool single = plan.tokens == 64 && scaled;
    const int64_t most = single ? multiprocessors / 2 : multiprocessors * 17 / 10;
    plan.split = 1;
    // 64 tokens repay a split with eight steps for each of its blocks at least (measured on an H200).
    const auto repays = [&](int64_t split) { return plan.tokens < 64 || reduction / kStep / split >= 8; };
    while (plan.split < 8 && row_tiles * plan.split * 2 <= most && repays(plan.split * 2)) plan.split *= 2;
    if (plan.split == 1 && row_tiles * 2 <= multiprocessors) plan.split = 2;
    return;
  }
  const auto take_small = [&](int tokens, int split, int64_t fewest, int64_t most) {
    const int64_t blocks = row_tiles * CeilDiv(m, tokens) * split;
    if (blocks <= fewest || blocks > most) return false;
    plan.kernel = GemmKernel::kSm90Small;
    plan.tokens = tokens;
    plan.split = split;
    return true;
  };
  const int64_t tiles = row_tiles * CeilDiv(m, 128), all = multiprocessors, half = multiprocessors / 2;
  const bool few = tiles * 5 < all * 2 || (tiles * 2 < all && (reduction >= 8192 || (scaled && m > 128)));
  if (m <= 512 && few) {
    if (scaled && (take_small(64, 2, half, all) || take_small(128, 2, half, all))) return;
    if (take_small(128, 4, 0, half) || take_small(128, 2, 0, all)) return;
  }
  plan.kernel = GemmKernel::kSm90;
  plan.split = 1;
  const double wide = WaveCost(rows_of_out, m, 256, scaled, multiprocessors);
  plan.tokens = wide <= WaveCost(rows_of_out, m, 128, scaled, multiprocessors) ? 256 : 128;
}

void ChooseAmpere(GemmPlan& plan, const DeviceGemmCall& call, int64_t rows_of_out, int64_t steps,
                  int multiprocessors) {
  plan.kernel = GemmKernel::kSm80;
  plan.tokens = call.rows <= 16 ? 16 : call.rows <= 64 ? 64 : 128;
  plan.split = 1;
  const int64_t blocks = CeilDiv(rows_of_out, kRowTile) * CeilDiv(call.rows, plan.tokens);
  while (plan.split < 16 && blocks * plan.split < multiprocessors && steps / (plan.split * 2) >= 4)
    plan.split *= 2;
}

}  // namespace

GemmPlan PlanGemm(const DeviceGemmCall& call, const Device& device, GemmKernel forced, int tokens,
                  int split) {
  const bool forward = call.direction == Direction::kForward;
  const int64_t width = forward ? call.weight.k : call.weight.n,
                out = forward ? call.weight.n : call.weight.k;
  if (call.rows > std::numeric_limits<int>::max() / 2 || out > std::numeric_limits<int>::max() / 2) {
    Fail("a product of ", call.rows, " rows and ", out, " columns is too large for one call.");
  }
  GemmPlan plan;
  plan.terms = call.element == Element::kFloat ? call.float_terms : 1;
  plan.padded_width = forward ? call.weight.padded_k : call.weight.padded_n;
  plan.prepare = call.element == Element::kFloat || width == 0 || width % 8 != 0 || !Aligned16(call.in);
  const int64_t steps = plan.terms * plan.padded_width / kStep;
  // fp32 rows take their scales on the way into bf16 terms, so that nothing else is rounded.
  const bool scaled = !forward && call.element != Element::kFloat;

  if (forced == GemmKernel::kBest && call.int8 && device.hopper() && call.element != Element::kFloat &&
      width != 0 && width < kInt8Columns && RepaysInt8(call.rows, out, device.multiprocessors)) {
    plan.kernel = GemmKernel::kSm90Int8;
    plan.tokens = kInt8Tokens;
  } else if (forced == GemmKernel::kBest) {
    device.hopper() ? ChooseHopper(plan, call, out, width, scaled, device.multiprocessors)
                    : ChooseAmpere(plan, call, out, steps, device.multiprocessors);
  } else {
    plan.kernel = forced;
    plan.tokens = 128;
  }
  if (tokens != 0) plan.tokens = tokens;
  if (split != 0) plan.split = split;
  if (plan.kernel == GemmKernel::kSm90Int8) {
    plan.prepare = false;
    plan.prepared_bytes = Int8RowBytes(call, plan) + RoundUp(call.rows, kInt8Tokens) * int64_t{sizeof(float)};
  }
  if (plan.prepare) {
    plan.prepared_bytes = RoundUp(call.rows * plan.terms * plan.padded_width * 2, kAlignment);
  }
  if (plan.kernel == GemmKernel::kSm80 && plan.split > 1)
    plan.partial_bytes = plan.split * call.rows * out * 4;
  return plan;
}

bool TakesBranch(const DeviceGemmCall& call, const GemmPlan& plan) {
  const bool forward = call.direction == Direction::kForward;
  return call.element != Element::kFloat && plan.kernel != GemmKernel::kSm80 &&
         (forward ? call.weight.k : call.weight.n) != 0;
}

void RunGemm(const DeviceGemmCall& call, const GemmPlan& plan, const Device& device, void* workspace,
             cudaStream_t stream) {
  const bool forward = call.direction == Direction::kForward, is_float = call.element == Element::kFloat;
  const bool half = call.element == Element::kHalf;
  const int64_t width = forward ? call.weight.k : call.weight.n,
                out = forward ? call.weight.n : call.weight.k;
  if (call.rows == 0 || out == 0) return;
  if (width == 0)
    return LaunchFillRows(call.element, forward ? call.bias : nullptr, call.addend, call.rows, out, call.out,
                          stream);
  const GemmVariant variant{half, !forward, !forward && !is_float};

  GemmArguments arguments = {};
  arguments.blocks = call.weight.data;
  arguments.activations = call.in;
  arguments.pitch = width;
  arguments.columns = static_cast<int>(width);
  if (plan.prepare) {
    RowsToPrepare rows;
    rows.element = call.element;
    rows.in = call.in;
    rows.rows = call.rows;
    rows.width = width;
    rows.scale = !forward && is_float ? &call.scale : nullptr;
    rows.terms = plan.terms;
    rows.padded_width = plan.padded_width;
    rows.out = workspace;
    LaunchPrepareRows(rows, stream);
    arguments.activations = workspace;
    arguments.pitch = plan.terms * plan.padded_width;
    arguments.columns = static_cast<int>(arguments.pitch);
  }
  if (plan.kernel == GemmKernel::kSm90Int8) {
    RowsToQuantize rows;
    rows.element = call.element;
    rows.in = call.in;
    rows.rows = call.rows;
    rows.width = width;
    rows.scale = forward ? nullptr : &call.scale;
    rows.padded_width = plan.padded_width;
    rows.out = static_cast<int8_t*>(workspace);
    rows.scales = reinterpret_cast<float*>(static_cast<char*>(workspace) + Int8RowBytes(call, plan));
    LaunchQuantizeRows(rows, stream);
    arguments.activations = workspace;
    arguments.int8_weight = call.int8_weight;
    arguments.token_scale = rows.scales;
  }
  arguments.out = call.out;
  arguments.row_scale = forward ? call.scale.scale : nullptr;
  arguments.factors = half ? call.scale.half_factor : call.scale.bf16_factor;
  arguments.power = forward ? nullptr : call.scale.powers;
  arguments.bias = forward ? call.bias : nullptr;
  arguments.addend = call.addend;
  arguments.unit = half ? 1.0f : variant.scaled ? 8192.0f : 64.0f;
  arguments.m = static_cast<int>(call.rows);
  arguments.rows = static_cast<int>(out);
  arguments.weight_steps = static_cast<int>(plan.padded_width / kStep);
  arguments.steps = plan.terms * arguments.weight_steps;
  arguments.blocks_k = static_cast<int>(call.weight.padded_k / kStep);
  arguments.frozen_weight = call.frozen_weight;
  arguments.every_lane_arrives = plan.every_lane_arrives;
  arguments.float_out = is_float;
  arguments.narrow = call.branch.narrow;
  arguments.factor = call.branch.factor;
  arguments.rank = static_cast<int>(call.branch.rank);
  arguments.tensor_store = !is_float && out % 8 == 0 && Aligned16(call.out) && Aligned16(call.addend);

  switch (plan.kernel) {
    case GemmKernel::kSm90:
      return LaunchGemmSm90(variant, plan.tokens, arguments, device.multiprocessors, stream);
    case GemmKernel::kSm90Int8:
      arguments.unit = 1.0f;
      arguments.steps = static_cast<int>(plan.padded_width / 128);
      return LaunchGemmInt8Sm90(variant, arguments, device.multiprocessors, stream);
    case GemmKernel::kSm90Small:
      return LaunchGemmSm90Small(variant, plan.tokens, plan.split, arguments, stream);
    default:
      return LaunchGemmSm80(variant, plan.tokens, plan.split, arguments,
                            reinterpret_cast<float*>(static_cast<char*>(workspace) + plan.prepared_bytes),
                            stream);
  }
}

}  // namespace ortqlora::cuda

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "common/cpu_path.h"
#include "common/parallel.h"
#include "ops/matmul_int8/packed_weight.h"

namespace ortqlora {

struct GemmKernels;
struct TileTail;
struct RowKernels;

// How products are formed (attribute `compute`). Sums over rows of one call never mix.
enum class Compute {
  kAuto,   // the fastest whose error stays below bf16's
  kFp32,   // fp32 products and sums
  kBf16,   // activations rounded to bf16, fp32 sums
  kInt16,  // each row of activations as integers of 13 bits and sign, exact sums
  kInt8,   // each row of activations as integers of 7 bits and sign, exact sums
};

const char* ComputeName(Compute compute);
// Throws Error for an unknown name.
Compute ParseCompute(const std::string& name);

enum class Element { kFloat, kHalf };

enum class Direction {
  kForward,   // out[M, N] = in[M, K] * What + bias
  kGradient,  // out[M, K] = in[M, N] * What^T
};

// Something that is added to a product while its tiles are in the cache.
class TileAddend {
 public:
  virtual ~TileAddend() = default;

  // Adds to rows [row, row + rows) and columns [column, column + columns) of the result, which stand at
  // `out`, out_stride floats from row to row. Columns start at multiples of 64 and end at one of 16, which
  // may lie past the last one. Runs on any thread, with all rows of a tile finished but for this.
  virtual void Add(int64_t row, int64_t rows, int64_t column, int64_t columns, float* out,
                   int64_t out_stride) const = 0;

  // The same for kernels that can add it before they store: from row `row` on, for the columns that start at
  // `column`.
  virtual TileTail Tail(int64_t row, int64_t column) const = 0;
};

// Sees the rows of a product while their conversion has them in the cache: kBlock rows at a time, as many in
// a row on one thread as it asks for.
class RowObserver {
 public:
  static constexpr int64_t kBlock = 64;

  virtual ~RowObserver() = default;

  // Rows that one task takes, in order: a multiple of kBlock. Tasks start at multiples of it.
  virtual int64_t task_rows() const { return kBlock; }

  // Rows [first, first + rows) of the call's input; all blocks but the last have kBlock rows. `converted` is
  // their form as FloatProduct packs rows in the call's mode, `stride` bytes apart, or null where the product
  // reads another form.
  virtual void See(int64_t first, int64_t rows, const std::byte* converted, int64_t stride) const = 0;
};

// One product with What[k, n] = q[k, n] * scale[n]. Rows are dense, of `element` type on both sides.
struct GemmCall {
  Direction direction = Direction::kForward;
  Element element = Element::kFloat;
  const PackedWeight* weight = nullptr;
  const float* scale = nullptr;  // [N]
  const float* bias = nullptr;   // [N] or null; forward only
  const void* in = nullptr;
  void* out = nullptr;
  int64_t rows = 0;
  const RowObserver* observer = nullptr;
  const TileAddend* addend = nullptr;
};

// The kernels of one CPU path for one way of forming products.
class Int8Gemm {
 public:
  Int8Gemm(CpuPath path, Compute compute);

  void Run(const GemmCall& call, Parallel& parallel) const;

  // What `auto` stands for on this path.
  Compute compute() const { return compute_; }

 private:
  Compute compute_;
  const GemmKernels* kernels_;
  const RowKernels* row_kernels_;
};

}  // namespace ortqlora

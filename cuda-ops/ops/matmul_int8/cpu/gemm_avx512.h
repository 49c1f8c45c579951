#pragma once

// AVX-512 kernels, a template over the dot instruction. Included by one file per instruction set extension,
// each compiled with its own flags: everything is in the anonymous namespace, so that no two of them can be
// merged by the linker.
//
// The tile is 6 rows x 4 vectors of 16 columns: 24 sums, 4 weights and 1 broadcast in 32 registers. A step
// is 4 loads, 6 broadcasts and 24 dot instructions, one of which a core starts per cycle.
// Every kernel is noinline and its loops over sums are unrolled: inlined into the driver, or with one rolled
// loop, the compiler keeps the sums in memory.

#include <immintrin.h>

#include "ops/matmul_int8/cpu/gemm_kernels.h"

#define ORTQLORA_UNROLL _Pragma("GCC unroll 16")
#define ORTQLORA_KERNEL [[gnu::noinline]] void

namespace ortqlora {
namespace {

// Bytes from what is read to what is asked for.
constexpr int kReadAhead = 1024;

inline __m512i LoadBytes(const void* p) { return _mm512_loadu_si512(p); }

inline __m512i BroadcastDword(const std::byte* p) {
  int32_t dword;
  __builtin_memcpy(&dword, p, sizeof dword);
  return _mm512_set1_epi32(dword);
}

inline __m512i RepeatLane(long long high, long long low) {
  return _mm512_broadcast_i32x4(_mm_set_epi64x(high, low));
}

// A Dot names the format of a step:
//   Sum                 vector of 16 sums
//   kFormat             what rows and scratch panels hold
//   kOutputs            vectors (steps) that 64 stored bytes make, 4 / elements per step
//   kParts              groups of outputs that can be converted apart, where registers are short
//   MultiplyAdd         sum + rows . weights, written as assembly: around the intrinsics GCC 12 copies sums
//                       between registers, runs out of them, and a tile falls to half its speed
//   Converter<gradient> stored bytes to the step operands of one part. Forward: 16 columns x 4 k as stored,
//   to k
//                       pairs (quads, single k). Gradient: each lane holds [4 columns][4 k], to [4 k] of
//                       column pairs (quads, single columns): the transposition costs no extra shuffle.

template <class Dot>
constexpr int kPart = Dot::kOutputs / Dot::kParts;

inline __m512 Finished(__m512 sum, const TileCall& call, float row_scale, const float* out, int column) {
  if (!call.first_chunk) sum = _mm512_add_ps(sum, _mm512_loadu_ps(out + column));
  if (!call.last_chunk) return sum;
  sum = _mm512_mul_ps(sum,
                      _mm512_mul_ps(_mm512_set1_ps(row_scale), _mm512_loadu_ps(call.column_scale + column)));
  if (call.bias != nullptr) sum = _mm512_add_ps(sum, _mm512_loadu_ps(call.bias + column));
  return sum;
}

struct FloatTail {
  static __m512 MultiplyAdd(__m512 sum, __m512i row, __m512i weight) {
    __asm__("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(row), "v"(weight));
    return sum;
  }
};

// Runs only where a call asks for it, which is on CPUs with AVX-512 BF16.
struct Bf16Tail {
  static __m512 MultiplyAdd(__m512 sum, __m512i row, __m512i weight) {
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(row), "v"(weight));
    return sum;
  }
};

template <class TailDot, int Rows, int Granules>
inline void AddTail(__m512 (&value)[Rows][Granules], const TileTail& tail) {
  const std::byte* panel = tail.panel;
  const std::byte* rows = tail.rows;
  for (int64_t s = tail.steps; s > 0; --s) {
    __m512i weight[Granules];
    ORTQLORA_UNROLL
    for (int g = 0; g < Granules; ++g) weight[g] = LoadBytes(panel + 64 * g);
    ORTQLORA_UNROLL
    for (int r = 0; r < Rows; ++r) {
      const __m512i row = BroadcastDword(rows + r * tail.row_stride);
      ORTQLORA_UNROLL
      for (int g = 0; g < Granules; ++g) value[r][g] = TailDot::MultiplyAdd(value[r][g], row, weight[g]);
    }
    panel += 64 * Granules;
    rows += 4;
  }
}

// What Finished does to one vector, for all of a tile, with each condition looked at once.
template <class Dot, int Rows, int Granules>
inline void StoreSums(typename Dot::Sum (&sum)[Rows][Granules], const TileCall& call) {
  __m512 value[Rows][Granules];
  ORTQLORA_UNROLL
  for (int r = 0; r < Rows; ++r) {
    ORTQLORA_UNROLL
    for (int g = 0; g < Granules; ++g) value[r][g] = Dot::ToFloat(sum[r][g]);
  }
  if (!call.first_chunk) {
    ORTQLORA_UNROLL
    for (int r = 0; r < Rows; ++r) {
      const float* out = call.out + r * call.out_stride;
      ORTQLORA_UNROLL
      for (int g = 0; g < Granules; ++g)
        value[r][g] = _mm512_add_ps(value[r][g], _mm512_loadu_ps(out + 16 * g));
    }
  }
  if (call.last_chunk) {
    __m512 scale[Granules];
    ORTQLORA_UNROLL
    for (int g = 0; g < Granules; ++g) scale[g] = _mm512_loadu_ps(call.column_scale + 16 * g);
    ORTQLORA_UNROLL
    for (int r = 0; r < Rows; ++r) {
      const __m512 row_scale = _mm512_set1_ps(call.row_scale[r]);
      ORTQLORA_UNROLL
      for (int g = 0; g < Granules; ++g) {
        value[r][g] = _mm512_mul_ps(value[r][g], _mm512_mul_ps(row_scale, scale[g]));
      }
    }
    if (call.bias != nullptr) {
      ORTQLORA_UNROLL
      for (int g = 0; g < Granules; ++g) {
        const __m512 bias = _mm512_loadu_ps(call.bias + 16 * g);
        ORTQLORA_UNROLL
        for (int r = 0; r < Rows; ++r) value[r][g] = _mm512_add_ps(value[r][g], bias);
      }
    }
    if (call.tail.steps > 0) {
      if (call.tail.is_bf16) {
        AddTail<Bf16Tail>(value, call.tail);
      } else {
        AddTail<FloatTail>(value, call.tail);
      }
    }
  }
  ORTQLORA_UNROLL
  for (int r = 0; r < Rows; ++r) {
    ORTQLORA_UNROLL
    for (int g = 0; g < Granules; ++g) _mm512_storeu_ps(call.out + r * call.out_stride + 16 * g, value[r][g]);
  }
}

template <class Dot, int Rows, int Granules>
inline void StartSums(typename Dot::Sum (&sum)[Rows][Granules], const TileCall& call) {
  ORTQLORA_UNROLL
  for (int r = 0; r < Rows; ++r) {
    ORTQLORA_UNROLL
    for (int g = 0; g < Granules; ++g) sum[r][g] = Dot::Start(call.row_init, r);
  }
}

// Asks for the lines of a tile before its products, so that the stores at their end need not wait for them.
template <int Rows, int Granules>
inline void PrefetchOut(const TileCall& call) {
  ORTQLORA_UNROLL
  for (int r = 0; r < Rows; ++r) {
    ORTQLORA_UNROLL
    for (int g = 0; g < Granules; ++g) {
      __asm__ volatile("prefetchw %0" : : "m"(call.out[r * call.out_stride + 16 * g]));
    }
  }
}

template <class Dot, int Rows, int Granules>
ORTQLORA_KERNEL Tile(const TileCall& call) {
  PrefetchOut<Rows, Granules>(call);
  typename Dot::Sum sum[Rows][Granules];
  StartSums<Dot, Rows, Granules>(sum, call);
  const auto* panel = static_cast<const std::byte*>(call.panel);
  const std::byte* rows = call.rows;
  const int64_t stride = call.row_stride;
  for (int64_t s = call.steps; s > 0; --s) {
    __m512i weight[Granules];
    ORTQLORA_UNROLL
    for (int g = 0; g < Granules; ++g) {
      // One row is a plain read of the panel, which then runs further ahead than the core looks.
      if constexpr (Rows == 1)
        _mm_prefetch(reinterpret_cast<const char*>(panel + 64 * g + kReadAhead), _MM_HINT_T0);
      weight[g] = LoadBytes(panel + 64 * g);
    }
    ORTQLORA_UNROLL
    for (int r = 0; r < Rows; ++r) {
      const __m512i row = BroadcastDword(rows + r * stride);
      ORTQLORA_UNROLL
      for (int g = 0; g < Granules; ++g) sum[r][g] = Dot::MultiplyAdd(sum[r][g], row, weight[g]);
    }
    panel += 64 * Granules;
    rows += 4;
  }
  StoreSums<Dot, Rows, Granules>(sum, call);
}

// Converts each stored vector once and uses it for all rows, without scratch.
template <class Dot, int Rows, int Granules>
ORTQLORA_KERNEL DirectForward(const TileCall& call) {
  const typename Dot::template Converter<false> convert;
  typename Dot::Sum sum[Rows][Granules];
  StartSums<Dot, Rows, Granules>(sum, call);
  const auto* panel = static_cast<const std::byte*>(call.panel);
  const std::byte* rows = call.rows;
  for (int64_t s = call.steps; s > 0; --s) {
    ORTQLORA_UNROLL
    for (int part = 0; part < Dot::kParts; ++part) {
      ORTQLORA_UNROLL
      for (int g = 0; g < Granules; ++g) {
        __m512i weight[kPart<Dot>];
        convert(LoadBytes(panel + 64 * g), part, weight);
        ORTQLORA_UNROLL
        for (int i = 0; i < kPart<Dot>; ++i) {
          ORTQLORA_UNROLL
          for (int r = 0; r < Rows; ++r) {
            const __m512i row = BroadcastDword(rows + r * call.row_stride + 4 * (part * kPart<Dot> + i));
            sum[r][g] = Dot::MultiplyAdd(sum[r][g], row, weight[i]);
          }
        }
      }
    }
    panel += 64 * Granules;
    rows += 4 * Dot::kOutputs;
  }
  StoreSums<Dot, Rows, Granules>(sum, call);
}

// Converts 64 stored bytes to all their steps, step_stride bytes apart.
template <class Dot, class Converter>
inline void StoreSteps(const Converter& convert, __m512i stored, std::byte* out, int64_t step_stride) {
  ORTQLORA_UNROLL
  for (int part = 0; part < Dot::kParts; ++part) {
    __m512i weight[kPart<Dot>];
    convert(stored, part, weight);
    ORTQLORA_UNROLL
    for (int i = 0; i < kPart<Dot>; ++i) {
      _mm512_storeu_si512(out + (part * kPart<Dot> + i) * step_stride, weight[i]);
    }
  }
}

template <class Dot>
ORTQLORA_KERNEL UnpackForward(const UnpackCall& call) {
  const typename Dot::template Converter<false> convert;
  const int64_t granules = call.outputs / 16;
  const uint8_t* stored = call.weight;
  std::byte* quad = call.panel;
  for (int64_t k = 0; k < call.reduction; k += 4) {
    for (int64_t g = 0; g < granules; ++g) {
      StoreSteps<Dot>(convert, LoadBytes(stored), quad + g * call.granule_stride, call.step_stride);
      stored += 64;
    }
    quad += Dot::kOutputs * call.step_stride;
  }
}

// Rows of four 16-byte lanes become columns: in[i] lane j to out[j] lane i.
inline void TransposeLanes(__m512i (&v)[4]) {
  const __m512i a = _mm512_shuffle_i32x4(v[0], v[1], 0x44), b = _mm512_shuffle_i32x4(v[2], v[3], 0x44);
  const __m512i c = _mm512_shuffle_i32x4(v[0], v[1], 0xEE), d = _mm512_shuffle_i32x4(v[2], v[3], 0xEE);
  v[0] = _mm512_shuffle_i32x4(a, b, 0x88);
  v[1] = _mm512_shuffle_i32x4(a, b, 0xDD);
  v[2] = _mm512_shuffle_i32x4(c, d, 0x88);
  v[3] = _mm512_shuffle_i32x4(c, d, 0xDD);
}

// Takes 4 k-quads of 16 columns at a time: with lanes transposed, a vector is 16 k of one column quad.
template <class Dot>
ORTQLORA_KERNEL UnpackGradient(const UnpackCall& call) {
  const typename Dot::template Converter<true> convert;
  std::byte* step = call.panel;
  const uint8_t* panel = call.weight;
  for (int64_t n = 0; n < call.reduction; n += 64, panel += call.panel_stride) {
    const int64_t left = call.reduction - n;
    const int64_t width = left < 64 ? left : 64;
    const uint8_t* block = panel + call.first_output * width;
    for (int64_t column = 0; column < width; column += 16) {
      for (int64_t k = 0; k < call.outputs; k += 16) {
        __m512i quad[4];
        for (int i = 0; i < 4; ++i) {
          const uint8_t* stored = block + (k + 4 * i) * width + 4 * column;
          _mm_prefetch(reinterpret_cast<const char*>(stored + 2 * call.panel_stride), _MM_HINT_T0);
          quad[i] = LoadBytes(stored);
        }
        TransposeLanes(quad);
        std::byte* out = step + k / 16 * call.granule_stride;
        for (int j = 0; j < 4; ++j) {
          StoreSteps<Dot>(convert, quad[j], out + j * Dot::kOutputs * call.step_stride, call.step_stride);
        }
      }
      step += 4 * Dot::kOutputs * call.step_stride;
    }
  }
}

// One block of a direct gradient: `width` columns of kQuads k-quads. The width is a template parameter of the
// full case, for then all addresses are constants.
template <class Dot, int Rows, int Quads, class Converter, class Width>
[[gnu::always_inline]] inline void AddBlock(typename Dot::Sum (&sum)[Rows][Quads], const Converter& convert,
                                            __m512i repeat, const std::byte* rows, int64_t row_stride,
                                            const uint8_t* block, const uint8_t* next, Width width) {
  for (int64_t column = 0; column < width; column += 16) {
    ORTQLORA_UNROLL
    for (int part = 0; part < Dot::kParts; ++part) {
      __m512i row[Rows][kPart<Dot>];
      ORTQLORA_UNROLL
      for (int r = 0; r < Rows; ++r) {
        ORTQLORA_UNROLL
        for (int i = 0; i < kPart<Dot>; ++i) {
          row[r][i] = _mm512_permutexvar_epi32(
              repeat, LoadBytes(rows + r * row_stride + 4 * (part * kPart<Dot> + i)));
        }
      }
      ORTQLORA_UNROLL
      for (int q = 0; q < Quads; ++q) {
        const int64_t at = 4 * (q * width + column);
        if (part == 0) _mm_prefetch(reinterpret_cast<const char*>(next + at), _MM_HINT_T0);
        __m512i weight[kPart<Dot>];
        convert(LoadBytes(block + at), part, weight);
        ORTQLORA_UNROLL
        for (int r = 0; r < Rows; ++r) {
          ORTQLORA_UNROLL
          for (int i = 0; i < kPart<Dot>; ++i) sum[r][q] = Dot::MultiplyAdd(sum[r][q], row[r][i], weight[i]);
        }
      }
    }
    rows += 16 * Dot::kOutputs;
  }
}

struct FullWidth {
  constexpr operator int64_t() const { return 64; }
};

// 16 * Granules outputs k. No lanes are transposed: lane j of a stored vector belongs to column quad j, so
// lane j of the row operand repeats that quad's activations, and the lanes' partial sums are added at the
// end.
template <class Dot, int Rows, int Granules>
ORTQLORA_KERNEL DirectGradientTile(const DirectGradientCall& call, int64_t first_output) {
  constexpr int kQuads = 4 * Granules;  // of k, a vector of sums each
  const typename Dot::template Converter<true> convert;
  // Dword 0 of each column quad, four times; later dwords of the quads by loading from further on.
  const __m512i lane = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
  const __m512i repeat = _mm512_mullo_epi32(lane, _mm512_set1_epi32(Dot::kOutputs));
  typename Dot::Sum sum[Rows][kQuads];
  ORTQLORA_UNROLL
  for (int r = 0; r < Rows; ++r) {
    ORTQLORA_UNROLL
    for (int q = 0; q < kQuads; ++q) sum[r][q] = Dot::Zero();
  }
  const uint8_t* panel = call.weight;
  const std::byte* rows = call.tile.rows;
  int64_t left = call.reduction;
  for (; left >= 64; left -= 64, panel += call.panel_stride, rows += 64 * Dot::kOutputs) {
    const uint8_t* block = panel + first_output * 64;
    AddBlock<Dot>(sum, convert, repeat, rows, call.tile.row_stride, block, block + 2 * call.panel_stride,
                  FullWidth());
  }
  if (left > 0) {
    const uint8_t* block = panel + first_output * left;
    AddBlock<Dot>(sum, convert, repeat, rows, call.tile.row_stride, block, block, left);
  }
  const int64_t at = first_output - call.first_output;
  ORTQLORA_UNROLL
  for (int r = 0; r < Rows; ++r) {
    alignas(64) float folded[4 * kQuads];
    ORTQLORA_UNROLL
    for (int q = 0; q < kQuads; ++q)
      _mm_store_ps(folded + 4 * q, Dot::Fold(sum[r][q], call.tile.row_init, r));
    float* out = call.tile.out + r * call.tile.out_stride + at;
    TileCall part = call.tile;
    part.column_scale += at;
    ORTQLORA_UNROLL
    for (int g = 0; g < Granules; ++g) {
      const __m512 value = _mm512_load_ps(folded + 16 * g);
      _mm512_storeu_ps(out + 16 * g, Finished(value, part, call.tile.row_scale[r], out, 16 * g));
    }
  }
}

// As many outputs at a time as 16 vectors of sums allow.
template <class Dot, int Rows>
void DirectGradient(const DirectGradientCall& call) {
  constexpr int kGranules = Rows == 1 ? 4 : Rows == 2 ? 2 : 1;
  const int64_t end = call.first_output + call.outputs;
  int64_t k = call.first_output;
  for (; k + 16 * kGranules <= end; k += 16 * kGranules) DirectGradientTile<Dot, Rows, kGranules>(call, k);
  for (; k < end; k += 16) DirectGradientTile<Dot, Rows, 1>(call, k);
}

template <class Dot, int Rows>
constexpr void FillTiles(GemmKernels& kernels) {
  kernels.tile[Rows - 1][0] = Tile<Dot, Rows, 1>;
  kernels.tile[Rows - 1][1] = Tile<Dot, Rows, 2>;
  kernels.tile[Rows - 1][2] = Tile<Dot, Rows, 3>;
  kernels.tile[Rows - 1][3] = Tile<Dot, Rows, 4>;
}

template <class Dot, int Rows>
constexpr void FillDirectForward(GemmKernels& kernels) {
  kernels.direct_forward[Rows - 1][0] = DirectForward<Dot, Rows, 1>;
  kernels.direct_forward[Rows - 1][1] = DirectForward<Dot, Rows, 2>;
  kernels.direct_forward[Rows - 1][2] = DirectForward<Dot, Rows, 3>;
  kernels.direct_forward[Rows - 1][3] = DirectForward<Dot, Rows, 4>;
}

template <class Dot>
constexpr GemmKernels MakeKernels(int64_t chunk, int direct_forward_rows, int direct_gradient_rows) {
  GemmKernels kernels{};
  kernels.format = Dot::kFormat;
  kernels.tile_rows = 6;
  kernels.granules = 4;
  kernels.chunk = chunk;
  kernels.takes_tail = true;
  FillTiles<Dot, 1>(kernels);
  FillTiles<Dot, 2>(kernels);
  FillTiles<Dot, 3>(kernels);
  FillTiles<Dot, 4>(kernels);
  FillTiles<Dot, 5>(kernels);
  FillTiles<Dot, 6>(kernels);
  kernels.tall_tile = Tile<Dot, kTallTileRows, 1>;
  kernels.direct_forward_rows = direct_forward_rows;
  kernels.direct_gradient_rows = direct_gradient_rows;
  // Where the stored bytes are the operand, the tile kernels are already direct.
  if constexpr (Dot::kOutputs > 1) {
    if (direct_forward_rows < kAlwaysDirect) kernels.unpack_forward = UnpackForward<Dot>;
    FillDirectForward<Dot, 1>(kernels);
    FillDirectForward<Dot, 2>(kernels);
    FillDirectForward<Dot, 3>(kernels);
    FillDirectForward<Dot, 4>(kernels);
  }
  kernels.unpack_gradient = UnpackGradient<Dot>;
  kernels.direct_gradient[0] = DirectGradient<Dot, 1>;
  kernels.direct_gradient[1] = DirectGradient<Dot, 2>;
  kernels.direct_gradient[2] = DirectGradient<Dot, 3>;
  kernels.direct_gradient[3] = DirectGradient<Dot, 4>;
  return kernels;
}

}  // namespace
}  // namespace ortqlora

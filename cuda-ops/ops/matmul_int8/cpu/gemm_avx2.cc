// AVX2 kernels: 6 rows x 2 vectors of 8 columns, 12 sums, 2 weights and 1 broadcast in 16 registers. Every
// mode goes through a scratch panel. The dot instructions are written as assembly, for the reason given in
// gemm_avx512.h. Compiled for AVX2: everything stays in the anonymous namespace.

#include <immintrin.h>

#include "ops/matmul_int8/cpu/gemm_kernels.h"

#define ORTQLORA_UNROLL _Pragma("GCC unroll 16")

namespace ortqlora {
namespace {

// Stored bytes of four columns or four k: 16-byte lanes of [4][4].
__m256i LoadLanes(const uint8_t* low, const uint8_t* high) {
  const __m128i first = _mm_loadu_si128(reinterpret_cast<const __m128i*>(low));
  return _mm256_inserti128_si256(_mm256_castsi128_si256(first),
                                 _mm_loadu_si128(reinterpret_cast<const __m128i*>(high)), 1);
}

// In a lane, k is byte `k` of dword `column`; a gradient step runs over columns instead.
constexpr int Place(bool gradient, int element) { return gradient ? 4 * element : element; }
constexpr int Stride(bool gradient) { return gradient ? 1 : 4; }

struct FloatDot {
  using Sum = __m256;
  static constexpr RowFormat kFormat = RowFormat::kFloat;
  static constexpr int kOutputs = 4;

  static Sum Zero() { return _mm256_setzero_ps(); }
  static __m256 ToFloat(Sum sum) { return sum; }
  static Sum MultiplyAdd(Sum sum, __m256i row, __m256i weight) {
    __asm__("vfmadd231ps %2, %1, %0" : "+x"(sum) : "x"(row), "x"(weight));
    return sum;
  }

  // The bytes of element `i` to the dwords of a step.
  template <bool kGradient>
  static __m256i Convert(__m256i stored, int i) {
    const int first = Place(kGradient, i), stride = Stride(kGradient);
    const auto dword = [](int byte) { return static_cast<int>(0x80808000u | static_cast<unsigned>(byte)); };
    const __m128i lane = _mm_setr_epi32(dword(first), dword(first + stride), dword(first + 2 * stride),
                                        dword(first + 3 * stride));
    const __m256i widened = _mm256_shuffle_epi8(stored, _mm256_broadcastsi128_si256(lane));
    return _mm256_castps_si256(_mm256_cvtepi32_ps(_mm256_sub_epi32(widened, _mm256_set1_epi32(128))));
  }
};

struct Int16Dot {
  using Sum = __m256i;
  static constexpr RowFormat kFormat = RowFormat::kInt16;
  static constexpr int kOutputs = 2;

  static Sum Zero() { return _mm256_setzero_si256(); }
  static __m256 ToFloat(Sum sum) { return _mm256_cvtepi32_ps(sum); }
  static Sum MultiplyAdd(Sum sum, __m256i row, __m256i weight) {
    __m256i products;
    __asm__("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0" : "+x"(sum), "=&x"(products) : "x"(row), "x"(weight));
    return sum;
  }

  // The bytes of elements 2 i and 2 i + 1 to the halves of the dwords of a step.
  template <bool kGradient>
  static __m256i Convert(__m256i stored, int i) {
    const int low = Place(kGradient, 2 * i), high = Place(kGradient, 2 * i + 1), stride = Stride(kGradient);
    const auto dword = [=](int d) {
      return static_cast<int>(0x80008000u | static_cast<unsigned>(low + d * stride) |
                              static_cast<unsigned>(high + d * stride) << 16);
    };
    const __m128i lane = _mm_setr_epi32(dword(0), dword(1), dword(2), dword(3));
    const __m256i widened = _mm256_shuffle_epi8(stored, _mm256_broadcastsi128_si256(lane));
    return _mm256_sub_epi16(widened, _mm256_set1_epi16(128));
  }
};

__m256 Finished(__m256 sum, const TileCall& call, float row_scale, const float* out, int column) {
  if (!call.first_chunk) sum = _mm256_add_ps(sum, _mm256_loadu_ps(out + column));
  if (!call.last_chunk) return sum;
  sum = _mm256_mul_ps(sum,
                      _mm256_mul_ps(_mm256_set1_ps(row_scale), _mm256_loadu_ps(call.column_scale + column)));
  if (call.bias != nullptr) sum = _mm256_add_ps(sum, _mm256_loadu_ps(call.bias + column));
  return sum;
}

template <class Dot, int Rows>
[[gnu::noinline]] void Tile(const TileCall& call) {
  typename Dot::Sum sum[Rows][2];
  ORTQLORA_UNROLL
  for (int r = 0; r < Rows; ++r) sum[r][0] = sum[r][1] = Dot::Zero();
  const auto* panel = static_cast<const __m256i*>(call.panel);
  const std::byte* rows = call.rows;
  const int64_t stride = call.row_stride;
  for (int64_t s = call.steps; s > 0; --s) {
    const __m256i left = _mm256_loadu_si256(panel), right = _mm256_loadu_si256(panel + 1);
    ORTQLORA_UNROLL
    for (int r = 0; r < Rows; ++r) {
      int32_t dword;
      __builtin_memcpy(&dword, rows + r * stride, sizeof dword);
      const __m256i row = _mm256_set1_epi32(dword);
      sum[r][0] = Dot::MultiplyAdd(sum[r][0], row, left);
      sum[r][1] = Dot::MultiplyAdd(sum[r][1], row, right);
    }
    panel += 2;
    rows += 4;
  }
  ORTQLORA_UNROLL
  for (int r = 0; r < Rows; ++r) {
    float* out = call.out + r * call.out_stride;
    const float scale = call.row_scale[r];
    _mm256_storeu_ps(out, Finished(Dot::ToFloat(sum[r][0]), call, scale, out, 0));
    _mm256_storeu_ps(out + 8, Finished(Dot::ToFloat(sum[r][1]), call, scale, out, 8));
  }
}

template <class Dot, bool kGradient>
void Widen(__m256i stored, std::byte* out, int64_t step_stride) {
  ORTQLORA_UNROLL
  for (int i = 0; i < Dot::kOutputs; ++i) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i * step_stride),
                        Dot::template Convert<kGradient>(stored, i));
  }
}

template <class Dot>
void UnpackForward(const UnpackCall& call) {
  const uint8_t* stored = call.weight;
  for (int64_t k = 0; k < call.reduction; k += 4) {
    std::byte* quad = call.panel + k / 4 * Dot::kOutputs * call.step_stride;
    for (int64_t n = 0; n < call.outputs; n += 16, stored += 64) {
      std::byte* out = quad + n / 16 * call.granule_stride;
      Widen<Dot, false>(LoadLanes(stored, stored + 16), out, call.step_stride);
      Widen<Dot, false>(LoadLanes(stored + 32, stored + 48), out + 32, call.step_stride);
    }
  }
}

// A lane of a stored k-quad holds four columns: lanes of neighbouring k-quads side by side are 8 k of them.
template <class Dot>
void UnpackGradient(const UnpackCall& call) {
  for (int64_t n = 0; n < call.reduction; n += 4) {
    const int64_t left = call.reduction - n / 64 * 64;
    const int64_t quad = 4 * (left < 64 ? left : 64);  // bytes of a k-quad
    const uint8_t* lanes =
        call.weight + n / 64 * call.panel_stride + call.first_output / 4 * quad + n % 64 * 4;
    std::byte* step = call.panel + n / 4 * Dot::kOutputs * call.step_stride;
    for (int64_t k = 0; k < call.outputs; k += 16, lanes += 4 * quad) {
      std::byte* out = step + k / 16 * call.granule_stride;
      Widen<Dot, true>(LoadLanes(lanes, lanes + quad), out, call.step_stride);
      Widen<Dot, true>(LoadLanes(lanes + 2 * quad, lanes + 3 * quad), out + 32, call.step_stride);
    }
  }
}

template <class Dot>
constexpr GemmKernels MakeKernels(int64_t chunk) {
  GemmKernels kernels{};
  kernels.format = Dot::kFormat;
  kernels.tile_rows = 6;
  kernels.granules = 1;
  kernels.chunk = chunk;
  kernels.tile[0][0] = Tile<Dot, 1>;
  kernels.tile[1][0] = Tile<Dot, 2>;
  kernels.tile[2][0] = Tile<Dot, 3>;
  kernels.tile[3][0] = Tile<Dot, 4>;
  kernels.tile[4][0] = Tile<Dot, 5>;
  kernels.tile[5][0] = Tile<Dot, 6>;
  kernels.unpack_forward = UnpackForward<Dot>;
  kernels.unpack_gradient = UnpackGradient<Dot>;
  return kernels;
}

}  // namespace

const GemmKernels& Avx2FloatKernels() {
  static constexpr GemmKernels kKernels = MakeKernels<FloatDot>(512);
  return kKernels;
}

const GemmKernels& Avx2Int16Kernels() {
  static constexpr GemmKernels kKernels = MakeKernels<Int16Dot>(2048);
  return kKernels;
}

}  // namespace ortqlora

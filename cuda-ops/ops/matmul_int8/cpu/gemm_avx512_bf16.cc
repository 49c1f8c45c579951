#include "ops/matmul_int8/cpu/gemm_avx512.h"

namespace ortqlora {
namespace {

// bf16 of the integers 0..127, split into tables of low and high bytes for two-register byte permutes.
struct Bf16Tables {
  alignas(64) uint8_t low[128];
  alignas(64) uint8_t high[128];
};

constexpr Bf16Tables MakeTables() {
  Bf16Tables tables{};
  for (int value = 1; value < 128; ++value) {
    int exponent = 0;
    while (value >> (exponent + 1) != 0) ++exponent;
    const int bits = (127 + exponent) << 7 | ((value << 7 >> exponent) & 0x7F);
    tables.low[value] = static_cast<uint8_t>(bits & 0xFF);
    tables.high[value] = static_cast<uint8_t>(bits >> 8);
  }
  return tables;
}

constexpr Bf16Tables kTables = MakeTables();

struct Bf16Dot {
  using Sum = __m512;
  static constexpr RowFormat kFormat = RowFormat::kBf16;
  static constexpr int kOutputs = 2;
  static constexpr int kParts = 1;

  static Sum Zero() { return _mm512_setzero_ps(); }
  static Sum Start(const int32_t*, int) { return Zero(); }
  static __m512 ToFloat(Sum sum) { return sum; }
  static Sum MultiplyAdd(Sum sum, __m512i row, __m512i weight) {
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(row), "v"(weight));
    return sum;
  }
  static __m128 Fold(Sum sum, const int32_t*, int) {
    const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(sum), _mm512_extractf32x8_ps(sum, 1));
    return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
  }

  // Order the bytes so that pairs of the reduction are neighbours, look up |q| and set the sign. Every int8
  // is exact in bf16. -128 needs eight bits of magnitude where the lookup takes seven: its low byte is 0
  // either way, the high one is put in by a mask.
  template <bool kGradient>
  struct Converter {
    __m512i order = kGradient ? RepeatLane(0x0F0B0E0A0D090C08, 0x0703060205010400)
                              : RepeatLane(0x0F0E0B0A07060302, 0x0D0C090805040100);
    __m512i low[2] = {LoadBytes(kTables.low), LoadBytes(kTables.low + 64)};
    __m512i high[2] = {LoadBytes(kTables.high), LoadBytes(kTables.high + 64)};
    __m512i sign = _mm512_set1_epi8(static_cast<char>(0x80));
    __m512i high_of_minus_128 = _mm512_set1_epi8(static_cast<char>(0xC3));

    void operator()(__m512i stored, int, __m512i (&out)[2]) const {
      const __m512i u = _mm512_shuffle_epi8(stored, order);
      const __m512i magnitude = _mm512_abs_epi8(_mm512_xor_si512(u, sign));
      const __m512i low_bytes = _mm512_permutex2var_epi8(low[0], magnitude, low[1]);
      __m512i high_bytes = _mm512_permutex2var_epi8(high[0], magnitude, high[1]);
      constexpr int kFirstOrNotSecondAndThird = 0xF2;
      high_bytes = _mm512_ternarylogic_epi64(high_bytes, u, sign, kFirstOrNotSecondAndThird);
      high_bytes = _mm512_mask_mov_epi8(high_bytes, _mm512_testn_epi8_mask(u, u), high_of_minus_128);
      out[0] = _mm512_unpacklo_epi8(low_bytes, high_bytes);
      out[1] = _mm512_unpackhi_epi8(low_bytes, high_bytes);
    }
  };
};

}  // namespace

const GemmKernels& Avx512Bf16Kernels() {
  static constexpr GemmKernels kKernels = MakeKernels<Bf16Dot>(2048, 4, 4);
  return kKernels;
}

}  // namespace ortqlora

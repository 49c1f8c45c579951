#pragma once

// From the words of layout tile64 to 16-bit fragments of operand A, two instructions for two weights.
//
// bf16: a byte u in the low half of a 16-bit lane, read as bf16, is u * 2^-133 (subnormals and the first
// binade are linear). One fma then gives q: u * 2^-133 * 2^127 - 2 = (u - 128) * 2^-6 exactly; the sums are
// multiplied by 2^6. With a scale s (gradient): factor s * 2^120, addend -factor * 2^-126, so (u - 128) * s *
// 2^-13 with one rounding. fp16: 0x6400 | u is 1024 + u exactly, so 1152 less is q; a scale costs one more
// instruction.

#include <cstdint>

namespace ortqlora::cuda {

__device__ __forceinline__ uint32_t FmaBf16x2(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t d;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
  return d;
}
__device__ __forceinline__ uint32_t SubF16x2(uint32_t a, uint32_t b) {
  uint32_t d;
  asm("sub.rn.f16x2 %0, %1, %2;" : "=r"(d) : "r"(a), "r"(b));
  return d;
}
__device__ __forceinline__ uint32_t MulF16x2(uint32_t a, uint32_t b) {
  uint32_t d;
  asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(d) : "r"(a), "r"(b));
  return d;
}

// Two words of a 64-step, register halves 0 and 1, to a fragment of k16. `factor` holds the scales of the
// fragment's reduction indices {2t, 2t+1} and {2t+8, 2t+9} in the form of ScaleView.
template <bool kHalf, bool kGrad, bool kScaled>
__device__ __forceinline__ void Convert(const uint32_t (&word)[2], const uint32_t (&factor)[2],
                                        uint32_t (&fragment)[4]) {
  constexpr uint32_t kLow = kGrad ? 0x4240 : 0x4140, kHigh = kGrad ? 0x4341 : 0x4342;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    if constexpr (kHalf) {
      uint32_t low = SubF16x2(__byte_perm(word[half], 0x64646464u, kLow), 0x64806480u);
      uint32_t high = SubF16x2(__byte_perm(word[half], 0x64646464u, kHigh), 0x64806480u);
      if constexpr (kScaled) {
        low = MulF16x2(low, factor[half]);
        high = MulF16x2(high, factor[half]);
      }
      fragment[2 * half] = low;
      fragment[2 * half + 1] = high;
    } else {
      uint32_t multiplier = 0x7F007F00u, addend = 0xC000C000u;
      if constexpr (kScaled) {
        multiplier = factor[half];
        addend = FmaBf16x2(multiplier, 0x80808080u, 0x80008000u);  // times -2^-126, plus -0
      }
      fragment[2 * half] = FmaBf16x2(__byte_perm(word[half], 0, kLow), multiplier, addend);
      fragment[2 * half + 1] = FmaBf16x2(__byte_perm(word[half], 0, kHigh), multiplier, addend);
    }
  }
}

// Index of the word that a lane (g = lane / 4, t = lane % 4) of the warp with 16 rows needs, in a 64 x 64
// block, for step k16 and register half `half`. The gradient reads the block transposed.
template <bool kGrad>
__device__ __forceinline__ int WordIndex(int warp, int g, int t, int k16, int half) {
  return !kGrad ? warp << 8 | k16 << 6 | half << 5 | ((g >> 2) ^ half) << 4 | (g & 3) << 2 | t
                : k16 << 8 | warp << 6 | (g >> 2) << 5 | (half ^ (g >> 2)) << 4 | t << 2 | (g & 3);
}

}  // namespace ortqlora::cuda

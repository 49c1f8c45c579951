#pragma once

// wgmma m64n64k16 as attention uses it: operand A in registers or in shared memory, operand B in shared
// memory, read as it lies (K-major: the reduction runs along the 128 bytes of a row) or transposed (it runs
// over the rows); fp32 sums.

#include <cstdint>

namespace ortqlora::cuda {

#define ORTQLORA_SUMS_OF_64                                                                                 \
  "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),           \
      "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]), \
      "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]),            \
      "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]),            \
      "+f"(d[30]), "+f"(d[31])

#define ORTQLORA_WGMMA_64(A_REGISTERS, B_REGISTER, P_REGISTER, MODIFIERS, TYPE, ...)                 \
  asm volatile(                                                                                      \
      "{\n.reg .pred p;\nsetp.ne.b32 p, " P_REGISTER                                                 \
      ", 0;\n"                                                                                       \
      "wgmma.mma_async.sync.aligned.m64n64k16.f32." TYPE "." TYPE                                    \
      " {%0, %1, %2, %3, %4, %5, %6, "                                                               \
      "%7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, " \
      "%26, %27, %28, %29, %30, %31}, " A_REGISTERS ", " B_REGISTER ", p, " MODIFIERS ";\n}"         \
      : ORTQLORA_SUMS_OF_64                                                                          \
      : __VA_ARGS__)

// D[64, 64] += A[64, 16] * B[16, 64] with A in registers and B transposed.
template <bool kHalf>
__device__ __forceinline__ void Wgmma64(float (&d)[32], const uint32_t (&a)[4], uint64_t b) {
  if constexpr (kHalf) {
    ORTQLORA_WGMMA_64("{%32, %33, %34, %35}", "%36", "%37", "1, 1, 1", "f16", "r"(a[0]), "r"(a[1]), "r"(a[2]),
                      "r"(a[3]), "l"(b), "r"(1));
  } else {
    ORTQLORA_WGMMA_64("{%32, %33, %34, %35}", "%36", "%37", "1, 1, 1", "bf16", "r"(a[0]), "r"(a[1]),
                      "r"(a[2]), "r"(a[3]), "l"(b), "r"(1));
  }
}

// The same with A and B in shared memory, B as it lies; with `add` 0 the sums start anew.
template <bool kHalf>
__device__ __forceinline__ void Wgmma64(float (&d)[32], uint64_t a, uint64_t b, int add) {
  if constexpr (kHalf) {
    ORTQLORA_WGMMA_64("%32", "%33", "%34", "1, 1, 0, 0", "f16", "l"(a), "l"(b), "r"(add));
  } else {
    ORTQLORA_WGMMA_64("%32", "%33", "%34", "1, 1, 0, 0", "bf16", "l"(a), "l"(b), "r"(add));
  }
}

#undef ORTQLORA_WGMMA_64
#undef ORTQLORA_SUMS_OF_64

}  // namespace ortqlora::cuda

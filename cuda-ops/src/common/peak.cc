#include "common/peak.h"

#include <algorithm>
#include <vector>

#include "common/stopwatch.h"

namespace ortqlora {
namespace {

struct Loop {
  void (*run)(long iterations);
  double operations;  // of one iteration
};

#if defined(ORTQLORA_X86)

// 24 independent sums, as many as a tile has: enough to hide any latency.
#define ORTQLORA_REPEAT24(X) \
  X(0)                       \
  X(1)                       \
  X(2)                       \
  X(3)                       \
  X(4)                       \
  X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15) X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23)
#define ORTQLORA_REPEAT12(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)

#define ORTQLORA_ZMM(instruction, i) instruction " %%zmm30, %%zmm31, %%zmm" #i "\n\t"
#define ORTQLORA_YMM(instruction, i) instruction " %%ymm14, %%ymm15, %%ymm" #i "\n\t"
#define ORTQLORA_LOOP(name, body, clobber)                                                       \
  void name(long iterations) {                                                                   \
    __asm__ volatile("vzeroall\n1:\n\t" body "dec %0\n\tjnz 1b" : "+r"(iterations) : : clobber); \
  }
#define ORTQLORA_FMA512(i) ORTQLORA_ZMM("vfmadd231ps", i)
#define ORTQLORA_BF16(i) ORTQLORA_ZMM("vdpbf16ps", i)
#define ORTQLORA_WSSD(i) ORTQLORA_ZMM("vpdpwssd", i)
#define ORTQLORA_BUSD(i) ORTQLORA_ZMM("vpdpbusd", i)
#define ORTQLORA_FMA256(i) ORTQLORA_YMM("vfmadd231ps", i)
#define ORTQLORA_MADD256(i) \
  "vpmaddwd %%ymm14, %%ymm15, %%ymm13\n\tvpaddd %%ymm13, %%ymm" #i ", %%ymm" #i "\n\t"
#define ORTQLORA_MADD512(i) \
  "vpmaddwd %%zmm30, %%zmm31, %%zmm29\n\tvpaddd %%zmm29, %%zmm" #i ", %%zmm" #i "\n\t"

#define ORTQLORA_ALL                                                                                      \
  "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", \
      "xmm12", "xmm13", "xmm14", "xmm15"

ORTQLORA_LOOP(Fma512, ORTQLORA_REPEAT24(ORTQLORA_FMA512), ORTQLORA_ALL)
ORTQLORA_LOOP(Bf16, ORTQLORA_REPEAT24(ORTQLORA_BF16), ORTQLORA_ALL)
ORTQLORA_LOOP(Wssd, ORTQLORA_REPEAT24(ORTQLORA_WSSD), ORTQLORA_ALL)
ORTQLORA_LOOP(Busd, ORTQLORA_REPEAT24(ORTQLORA_BUSD), ORTQLORA_ALL)
ORTQLORA_LOOP(Madd512, ORTQLORA_REPEAT24(ORTQLORA_MADD512), ORTQLORA_ALL)
ORTQLORA_LOOP(Fma256, ORTQLORA_REPEAT12(ORTQLORA_FMA256), ORTQLORA_ALL)
ORTQLORA_LOOP(Madd256, ORTQLORA_REPEAT12(ORTQLORA_MADD256), ORTQLORA_ALL)

void Read(const char* from, long blocks) {
  __asm__ volatile(
      "1:\n\t"
      "vmovups (%0), %%ymm0\n\tvmovups 32(%0), %%ymm1\n\tvmovups 64(%0), %%ymm2\n\tvmovups 96(%0), %%ymm3\n\t"
      "vmovups 128(%0), %%ymm4\n\tvmovups 160(%0), %%ymm5\n\tvmovups 192(%0), %%ymm6\n\tvmovups 224(%0), "
      "%%ymm7\n\t"
      "add $256, %0\n\tdec %1\n\tjnz 1b"
      : "+r"(from), "+r"(blocks)
      :
      : ORTQLORA_ALL, "memory");
}

Loop LoopFor(CpuPath path, Compute compute) {
  const bool integer = compute == Compute::kInt16 || compute == Compute::kInt8;
  if (path >= CpuPath::kAvx512Bf16 && compute == Compute::kBf16) return {Bf16, 24 * 64};
  if (path >= CpuPath::kAvx512Vnni && compute == Compute::kInt8) return {Busd, 24 * 128};
  if (path >= CpuPath::kAvx512Vnni && integer) return {Wssd, 24 * 64};
  if (path >= CpuPath::kAvx512) return integer ? Loop{Madd512, 24 * 64} : Loop{Fma512, 24 * 32};
  if (path >= CpuPath::kAvx2) return integer ? Loop{Madd256, 12 * 32} : Loop{Fma256, 12 * 16};
  return {nullptr, 0};
}

#else

void Read(const char*, long) {}

Loop LoopFor(CpuPath, Compute) { return {nullptr, 0}; }

#endif

}  // namespace

double PeakOperationsPerSecond(CpuPath path, Compute compute, Parallel& parallel, int threads) {
  const Loop loop = LoopFor(path, compute);
  if (loop.run == nullptr) return 0;
  constexpr long kIterations = 200000;
  double best = 0;
  for (int repeat = 0; repeat < 5; ++repeat) {
    const Stopwatch watch;
    parallel.For(threads, [&](int64_t) { loop.run(kIterations); });
    best = std::max(best, threads * loop.operations * kIterations / watch.Seconds());
  }
  return best;
}

double ReadBytesPerSecond(CpuPath path, size_t bytes, Parallel& parallel, int threads) {
  if (path < CpuPath::kAvx2) return 0;
  constexpr size_t kBlock = 256;
  const size_t share = bytes / static_cast<size_t>(threads) / kBlock * kBlock;
  if (share == 0) return 0;
  const std::vector<char> memory(share * static_cast<size_t>(threads), 1);
  double best = 0;
  for (int repeat = 0; repeat < 200; ++repeat) {
    const Stopwatch watch;
    parallel.For(threads, [&](int64_t i) {
      Read(memory.data() + static_cast<size_t>(i) * share, static_cast<long>(share / kBlock));
    });
    best = std::max(best, static_cast<double>(memory.size()) / watch.Seconds());
  }
  return best;
}

}  // namespace ortqlora

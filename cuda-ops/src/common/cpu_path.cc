#include "common/cpu_path.h"

#include <cstdint>
#include <cstdlib>

#include "common/error.h"

#if defined(ORTQLORA_X86) && defined(_MSC_VER)
#include <intrin.h>
#elif defined(ORTQLORA_X86)
#include <cpuid.h>
#endif

namespace ortqlora {
namespace {

constexpr CpuPath kAllPaths[] = {CpuPath::kPortable, CpuPath::kAvx2, CpuPath::kAvx512, CpuPath::kAvx512Vnni,
                                 CpuPath::kAvx512Bf16};

#if defined(ORTQLORA_X86)

struct CpuidRegisters {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

CpuidRegisters Cpuid(uint32_t leaf, uint32_t subleaf) {
  CpuidRegisters r;
#if defined(_MSC_VER)
  int values[4];
  __cpuid(values, 0);
  if (static_cast<uint32_t>(values[0]) < leaf) return r;
  __cpuidex(values, static_cast<int>(leaf), static_cast<int>(subleaf));
  r = {static_cast<uint32_t>(values[0]), static_cast<uint32_t>(values[1]), static_cast<uint32_t>(values[2]),
       static_cast<uint32_t>(values[3])};
#else
  __get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx);
#endif
  return r;
}

// The register sets the operating system saves on a context switch (XCR0).
uint64_t SavedRegisterSets() {
#if defined(_MSC_VER)
  return _xgetbv(0);
#else
  uint32_t low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return static_cast<uint64_t>(high) << 32 | low;
#endif
}

constexpr bool Bit(uint32_t word, int bit) { return (word >> bit & 1u) != 0; }

CpuPath FastestPath() {
  const CpuidRegisters basic = Cpuid(1, 0);
  const bool os_saves_registers = Bit(basic.ecx, 27);
  if (!os_saves_registers) return CpuPath::kPortable;
  constexpr uint64_t kYmm = 0x6, kZmm = 0xE6;
  const uint64_t saved = SavedRegisterSets();
  const CpuidRegisters extended = Cpuid(7, 0);

  const bool fma = Bit(basic.ecx, 12), f16c = Bit(basic.ecx, 29), avx2 = Bit(extended.ebx, 5);
  if ((saved & kYmm) != kYmm || !avx2 || !fma || !f16c) return CpuPath::kPortable;

  const bool f = Bit(extended.ebx, 16), dq = Bit(extended.ebx, 17), bw = Bit(extended.ebx, 30),
             vl = Bit(extended.ebx, 31);
  if ((saved & kZmm) != kZmm || !f || !dq || !bw || !vl) return CpuPath::kAvx2;

  const bool vnni = Bit(extended.ecx, 11), vbmi = Bit(extended.ecx, 1);
  if (!vnni) return CpuPath::kAvx512;

  const bool bf16 = Bit(Cpuid(7, 1).eax, 5);
  return bf16 && vbmi ? CpuPath::kAvx512Bf16 : CpuPath::kAvx512Vnni;
}

#else

CpuPath FastestPath() { return CpuPath::kPortable; }

#endif

std::string Names(const std::vector<CpuPath>& paths) {
  std::string names;
  for (CpuPath path : paths) names += (names.empty() ? "" : ", ") + std::string(CpuPathName(path));
  return names;
}

}  // namespace

const char* CpuPathName(CpuPath path) {
  switch (path) {
    case CpuPath::kPortable:
      return "portable";
    case CpuPath::kAvx2:
      return "avx2";
    case CpuPath::kAvx512:
      return "avx512";
    case CpuPath::kAvx512Vnni:
      return "avx512_vnni";
    case CpuPath::kAvx512Bf16:
      return "avx512_bf16";
  }
  return "unknown";
}

const std::vector<CpuPath>& SupportedCpuPaths() {
  static const std::vector<CpuPath> supported = [] {
    std::vector<CpuPath> paths;
    const CpuPath fastest = FastestPath();
    for (CpuPath path : kAllPaths) {
      if (path <= fastest) paths.push_back(path);
    }
    return paths;
  }();
  return supported;
}

CpuPath SelectCpuPath() {
  const char* wanted = std::getenv("ORTQLORA_CPU");
  if (wanted == nullptr || *wanted == '\0') return SupportedCpuPaths().back();
  for (CpuPath path : SupportedCpuPaths()) {
    if (wanted == std::string(CpuPathName(path))) return path;
  }
  for (CpuPath path : kAllPaths) {
    if (wanted == std::string(CpuPathName(path))) {
      Fail("ORTQLORA_CPU=", wanted, " asks for instructions this machine or build does not have; it runs: ",
           Names(SupportedCpuPaths()), ".");
    }
  }
  Fail("ORTQLORA_CPU=", wanted,
       " is not a known CPU path; known: ", Names({std::begin(kAllPaths), std::end(kAllPaths)}), ".");
}

}  // namespace ortqlora

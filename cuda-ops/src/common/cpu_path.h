#pragma once

#include <string>
#include <vector>

namespace ortqlora {

// Instruction sets the kernels are written for. Each path may use everything the earlier ones use.
// (A NEON or AMX path would be one more value here, one more file per kernel family.)
enum class CpuPath {
  kPortable,    // plain C++
  kAvx2,        // AVX2, FMA, F16C
  kAvx512,      // AVX-512 F, BW, DQ, VL
  kAvx512Vnni,  // + VNNI (Ice Lake)
  kAvx512Bf16,  // + BF16 and VBMI (Zen 4, Sapphire Rapids)
};

const char* CpuPathName(CpuPath path);

// Every path this machine and this build can run, slowest first.
const std::vector<CpuPath>& SupportedCpuPaths();

// The path named by the environment variable ORTQLORA_CPU, or the fastest supported one where it is unset
// or empty. Throws Error for an unknown name and for a path the machine cannot run.
CpuPath SelectCpuPath();

}  // namespace ortqlora

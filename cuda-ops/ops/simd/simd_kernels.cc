#include "ops/simd/simd_kernels.h"

namespace ortqlora {

const SimdKernels& SimdKernelsOf([[maybe_unused]] CpuPath path) {
#if defined(ORTQLORA_X86)
  if (path >= CpuPath::kAvx512) return Avx512SimdKernels();
  if (path >= CpuPath::kAvx2) return Avx2SimdKernels();
#endif
  return PortableSimdKernels();
}

}  // namespace ortqlora

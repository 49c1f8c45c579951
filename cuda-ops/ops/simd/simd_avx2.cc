#include "common/simd/vec_avx2.h"
// The kernels below are compiled for the Vec above.
#include "ops/simd/make_simd_kernels.h"

namespace ortqlora {

const SimdKernels& Avx2SimdKernels() {
  static constexpr SimdKernels kKernels = MakeSimdKernels();
  return kKernels;
}

}  // namespace ortqlora

#include "common/simd/vec_portable.h"
// The kernels below are compiled for the Vec above.
#include "ops/simd/make_simd_kernels.h"

namespace ortqlora {

const SimdKernels& PortableSimdKernels() {
  static constexpr SimdKernels kKernels = MakeSimdKernels();
  return kKernels;
}

}  // namespace ortqlora

#pragma once

#include "common/parallel.h"
#include "ops/matmul_int8/gemm.h"
#include "ops/matmul_int8/packed_weight.h"

namespace ortqlora {

// What[k, n] = q[k, n] * scale[n] from either layout, fp32 or rounded once to fp16: the bits that a product
// of the identity with the weight gives in compute mode fp32, without the identity.
void Dequantize(const WeightSource& source, const float* scale, Element element, void* out,
                Parallel& parallel);

}  // namespace ortqlora

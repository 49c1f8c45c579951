#pragma once

#include <cstdint>

#include "common/parallel.h"
#include "ops/simd/simd_kernels.h"

namespace ortqlora {

// Heads [batch, heads, sequence, size], or [batch, sequence, heads, size] where `sequence_first`, of which
// the first `turned` features are rotated. Angles: [sequence, turned], one such table a batch entry where
// `batched`.
struct RotaryShape {
  int64_t batch, heads, sequence, size, turned;
  bool sequence_first;
  bool batched;
};

// With kernel rotary or rotary_grad of a table.
void RotateHeads(void (*kernel)(const float*, const float*, const float*, int64_t, float*),
                 const RotaryShape& shape, const float* x, const float* cos, const float* sin, float* y,
                 Parallel& parallel);

}  // namespace ortqlora

#pragma once

#include <cuda.h>

#include <cstdint>

#include "common/cuda/element.h"

namespace ortqlora::cuda {

// Describes a dense matrix [outer, inner] of 16-bit elements, copied in tiles of box_outer x 64 elements with
// 128-byte swizzle. `pitch` is the distance of rows in elements, a multiple of 8; `data` is aligned to 16
// bytes.
CUtensorMap MatrixMap(Element element, const void* data, int64_t inner, int64_t outer, int64_t pitch,
                      int box_outer);

}  // namespace ortqlora::cuda

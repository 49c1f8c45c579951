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

// The same for 8-bit elements, in tiles of box_outer x 128; `pitch` is a multiple of 16.
CUtensorMap ByteMatrixMap(const void* data, int64_t inner, int64_t outer, int64_t pitch, int box_outer);

// Describes a tensor of 16-bit elements [sizes[3], sizes[2], sizes[1], sizes[0]], all above 0, copied in
// tiles of `rows` x 64 along its last two axes with 128-byte swizzle. strides[i] is the distance along axis
// sizes[i + 1] in elements, a multiple of 8; `data` is aligned to 16 bytes.
CUtensorMap TensorMap(Element element, const void* data, const int64_t (&sizes)[4],
                      const int64_t (&strides)[3], int rows);

}  // namespace ortqlora::cuda

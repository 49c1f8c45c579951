#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "common/cuda/element.h"

namespace ortqlora::cuda {

// `count` elements of one type as another, rounded to nearest.
void LaunchConvert(Element from_element, const void* from, Element to_element, void* to, int64_t count,
                   cudaStream_t stream);

}  // namespace ortqlora::cuda

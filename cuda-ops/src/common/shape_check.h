#pragma once

#include <cstdint>
#include <initializer_list>

#include "common/ort_tensor.h"

namespace ortqlora {

// Checks of inputs that ops share. Each throws Error with the input's name, what it is and what was expected;
// what a model does not declare yet passes, and is checked again when the tensor is there.

// Exactly these dimensions; -1 stands for any size.
void CheckShape(const char* name, const TensorInfo& tensor, std::initializer_list<int64_t> expected);

// [..., size].
void CheckLastDimension(const char* name, const char* size_name, int64_t size, const TensorInfo& tensor);

// Both have the same shape.
void CheckSameShape(const char* name, const TensorInfo& tensor, const char* other_name,
                    const TensorInfo& other);

// Product of all dimensions but the last.
int64_t LeadingSize(const TensorInfo& tensor);

}  // namespace ortqlora

#include "common/shape_check.h"

#include <vector>

#include "common/error.h"

namespace ortqlora {

void CheckShape(const char* name, const TensorInfo& tensor, std::initializer_list<int64_t> expected) {
  if (!tensor.has_shape) return;
  const std::vector<int64_t> sizes(expected);
  bool fits = tensor.shape.size() == sizes.size();
  for (size_t i = 0; fits && i < sizes.size(); ++i) {
    fits = sizes[i] < 0 || tensor.shape[i] < 0 || tensor.shape[i] == sizes[i];
  }
  if (!fits) Fail(name, " has the shape ", ShapeText(tensor.shape), ", expected ", ShapeText(sizes), ".");
}

void CheckLastDimension(const char* name, const char* size_name, int64_t size, const TensorInfo& tensor) {
  if (!tensor.has_shape) return;
  if (tensor.shape.empty())
    Fail(name, " is a scalar, expected [..., ", size_name, "] with ", size_name, " = ", size, ".");
  if (tensor.shape.back() < 0 || size < 0 || tensor.shape.back() == size) return;
  Fail(name, " has the shape ", ShapeText(tensor.shape), ", expected a last dimension of ", size_name, " = ",
       size, ".");
}

void CheckSameShape(const char* name, const TensorInfo& tensor, const char* other_name,
                    const TensorInfo& other) {
  if (!tensor.has_shape || !other.has_shape) return;
  bool fits = tensor.shape.size() == other.shape.size();
  for (size_t i = 0; fits && i < tensor.shape.size(); ++i) {
    fits = tensor.shape[i] < 0 || other.shape[i] < 0 || tensor.shape[i] == other.shape[i];
  }
  if (fits) return;
  Fail(name, " has the shape ", ShapeText(tensor.shape), ", expected ", other_name, "'s shape ",
       ShapeText(other.shape), ".");
}

int64_t LeadingSize(const TensorInfo& tensor) {
  int64_t size = 1;
  for (size_t i = 0; i + 1 < tensor.shape.size(); ++i) size *= tensor.shape[i];
  return size;
}

}  // namespace ortqlora

#pragma once

#include <utility>

#include "common/error.h"
#include "common/ort_kernel.h"
#include "common/shape_check.h"

namespace ortqlora {

// AdamW's inputs, for all its kernels: g, m and v (inputs 1 to 3) have p's shape; rate, step and factor
// (4 to 6) are one number each. `tensor(i)` gives a TensorInfo of input i.
template <typename InfoOf>
void CheckAdamWInputs(const InfoOf& tensor) {
  for (const auto& [name, index] : {std::pair{"g", size_t{1}}, {"m", 2}, {"v", 3}}) {
    CheckSameShape(name, tensor(index), "p", tensor(0));
  }
  for (const auto& [name, index] : {std::pair{"rate", size_t{4}}, {"step", 5}, {"factor", 6}}) {
    const TensorInfo info = tensor(index);
    if (info.fully_known() && info.size() != 1) {
      Fail(name, " has the shape ", ShapeText(info.shape), ", expected one number.");
    }
  }
}

}  // namespace ortqlora

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "ops/matmul_int8/packed_weight.h"

namespace ortqlora {

// Packs a constant weight, or returns the copy that some other kernel of this process already packed from
// equal bytes: forward and gradient, training and evaluation session share one. A content hash finds the
// candidates, a full comparison decides. The copy is freed with its last user. Thread-safe.
std::shared_ptr<const PackedWeight> SharedPackedWeight(const WeightSource& source);

struct PackedWeightUsage {
  int64_t count = 0;
  int64_t bytes = 0;
};

// What the registry holds alive at this moment.
PackedWeightUsage SharedPackedWeightUsage();

}  // namespace ortqlora

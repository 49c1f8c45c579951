#pragma once

#include <vector>

#include "common/ort_op.h"

namespace ortqlora {

const std::vector<OpEntry*>& Ops();

}  // namespace ortqlora

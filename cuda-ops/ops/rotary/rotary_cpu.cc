#include "ops/rotary/rotary_cpu.h"

#include <algorithm>

namespace ortqlora {

void RotateHeads(void (*kernel)(const float*, const float*, const float*, int64_t, float*),
                 const RotaryShape& shape, const float* x, const float* cos, const float* sin, float* y,
                 Parallel& parallel) {
  const int64_t heads = shape.batch * shape.heads * shape.sequence, rest = shape.size - shape.turned;
  ForRows(parallel, heads, shape.size, [&](int64_t first, int64_t count) {
    for (int64_t head = first; head < first + count; ++head) {
      const int64_t position =
          shape.sequence_first ? head / shape.heads % shape.sequence : head % shape.sequence;
      const int64_t entry = shape.batched ? head / (shape.heads * shape.sequence) : 0;
      const int64_t angles = (entry * shape.sequence + position) * shape.turned, at = head * shape.size;
      kernel(x + at, cos + angles, sin + angles, shape.turned / 2, y + at);
      std::copy_n(x + at + shape.turned, rest, y + at + shape.turned);
    }
  });
}

}  // namespace ortqlora

#include "ops/dequantize_int8/dequantize_int8_cpu.h"

#include <algorithm>
#include <vector>

#include "common/half.h"

namespace ortqlora {

void Dequantize(const WeightSource& source, const float* scale, Element element, void* out,
                Parallel& parallel) {
  constexpr int64_t kRowsPerTask = 32;
  const int64_t n = source.n;
  parallel.For((source.k + kRowsPerTask - 1) / kRowsPerTask, [&](int64_t task) {
    std::vector<int8_t> q(static_cast<size_t>(n));
    const int64_t end = std::min(source.k, (task + 1) * kRowsPerTask);
    for (int64_t k = task * kRowsPerTask; k < end; ++k) {
      ReadWeightRow(source, k, q.data());
      if (element == Element::kFloat) {
        float* row = static_cast<float*>(out) + k * n;
        for (int64_t i = 0; i < n; ++i) row[i] = static_cast<float>(q[static_cast<size_t>(i)]) * scale[i];
      } else {
        uint16_t* row = static_cast<uint16_t*>(out) + k * n;
        for (int64_t i = 0; i < n; ++i)
          row[i] = FloatToHalf(static_cast<float>(q[static_cast<size_t>(i)]) * scale[i]);
      }
    }
  });
}

}  // namespace ortqlora

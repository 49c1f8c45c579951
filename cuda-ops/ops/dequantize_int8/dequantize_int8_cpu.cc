#include "ops/dequantize_int8/dequantize_int8_cpu.h"

#include <algorithm>
#include <vector>

#include "common/half.h"

namespace ortqlora {

void Dequantize(const WeightSource& source, const float* scale, Element element, void* out,
                Parallel& parallel) {
  constexpr int64_t kRows = PackedWeight::kGranule;
  const int64_t n = source.n;
  parallel.For((source.k + kRows - 1) / kRows, [&](int64_t task) {
    const int64_t first = task * kRows, rows = std::min(kRows, source.k - first);
    std::vector<int8_t> q(static_cast<size_t>(rows * n));
    ReadWeightRows(source, first, rows, q.data(), n);
    for (int64_t row = 0; row < rows; ++row) {
      const int8_t* from = q.data() + row * n;
      const int64_t at = (first + row) * n;
      if (element == Element::kFloat) {
        float* to = static_cast<float*>(out) + at;
        for (int64_t i = 0; i < n; ++i) to[i] = static_cast<float>(from[i]) * scale[i];
      } else {
        uint16_t* to = static_cast<uint16_t*>(out) + at;
        for (int64_t i = 0; i < n; ++i) to[i] = FloatToHalf(static_cast<float>(from[i]) * scale[i]);
      }
    }
  });
}

}  // namespace ortqlora

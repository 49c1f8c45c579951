#include "ops/normalization/normalization_cpu.h"

#include <algorithm>

namespace ortqlora {
namespace {

// Gradients of weights sum over rows: a task owns this many columns and adds all rows to them in order.
constexpr int64_t kColumns = 256;

template <class Body>
void ForColumns(Parallel& parallel, int64_t width, const Body& body) {
  parallel.For((width + kColumns - 1) / kColumns, [&](int64_t task) {
    const int64_t first = task * kColumns;
    body(first, std::min(kColumns, width - first));
  });
}

void AddRow(const float* addend, int64_t width, float* row) {
  if (addend == nullptr) return;
  for (int64_t i = 0; i < width; ++i) row[i] += addend[i];
}

}  // namespace

void RmsNormForward(const SimdKernels& kernels, const NormRows& size, const float* x, const float* weight,
                    float epsilon, float* y, float* inv, Parallel& parallel) {
  ForRows(parallel, size.rows, size.width, [&](int64_t first, int64_t count) {
    for (int64_t row = first; row < first + count; ++row) {
      inv[row] = kernels.rms_norm(x + row * size.width, weight, size.width, epsilon, y + row * size.width);
    }
  });
}

void RmsNormBackward(const SimdKernels& kernels, const NormRows& size, const float* dy, const float* x,
                     const float* weight, const float* inv, const float* addend, float* dx, float* dweight,
                     Parallel& parallel) {
  ForRows(parallel, size.rows, size.width, [&](int64_t first, int64_t count) {
    for (int64_t row = first; row < first + count; ++row) {
      const int64_t at = row * size.width;
      kernels.rms_norm_grad(dy + at, x + at, weight, inv[row], size.width, dx + at);
      AddRow(addend == nullptr ? nullptr : addend + at, size.width, dx + at);
    }
  });
  if (dweight == nullptr) return;
  ForColumns(parallel, size.width, [&](int64_t first, int64_t count) {
    std::fill_n(dweight + first, count, 0.0f);
    for (int64_t row = 0; row < size.rows; ++row) {
      const int64_t at = row * size.width + first;
      kernels.rms_norm_weight_grad(dy + at, x + at, inv[row], count, dweight + first);
    }
  });
}

void LayerNormForward(const SimdKernels& kernels, const NormRows& size, const float* x, const float* weight,
                      const float* bias, float epsilon, float* y, float* mean, float* inv,
                      Parallel& parallel) {
  ForRows(parallel, size.rows, size.width, [&](int64_t first, int64_t count) {
    for (int64_t row = first; row < first + count; ++row) {
      const int64_t at = row * size.width;
      kernels.layer_norm(x + at, weight, bias, size.width, epsilon, y + at, mean + row, inv + row);
    }
  });
}

void LayerNormBackward(const SimdKernels& kernels, const NormRows& size, const float* dy, const float* x,
                       const float* weight, const float* mean, const float* inv, const float* addend,
                       float* dx, float* dweight, float* dbias, Parallel& parallel) {
  ForRows(parallel, size.rows, size.width, [&](int64_t first, int64_t count) {
    for (int64_t row = first; row < first + count; ++row) {
      const int64_t at = row * size.width;
      kernels.layer_norm_grad(dy + at, x + at, weight, mean[row], inv[row], size.width, dx + at);
      AddRow(addend == nullptr ? nullptr : addend + at, size.width, dx + at);
    }
  });
  if (dweight == nullptr && dbias == nullptr) return;
  ForColumns(parallel, size.width, [&](int64_t first, int64_t count) {
    float* const to_weight = dweight == nullptr ? nullptr : dweight + first;
    float* const to_bias = dbias == nullptr ? nullptr : dbias + first;
    if (to_weight != nullptr) std::fill_n(to_weight, count, 0.0f);
    if (to_bias != nullptr) std::fill_n(to_bias, count, 0.0f);
    for (int64_t row = 0; row < size.rows; ++row) {
      const int64_t at = row * size.width + first;
      kernels.layer_norm_weight_grad(dy + at, x + at, mean[row], inv[row], count, to_weight, to_bias);
    }
  });
}

}  // namespace ortqlora

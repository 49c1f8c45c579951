#include <algorithm>

#include "common/half.h"
#include "ops/matmul_int8/cpu/gemm_kernels.h"

namespace ortqlora {
namespace {

void HalfToFloatRow(const uint16_t* in, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = HalfToFloat(in[i]);
}

void FloatToHalfRow(const float* in, int64_t count, uint16_t* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = FloatToHalf(in[i]);
}

void Multiply(const float* a, const float* b, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = a[i] * b[i];
}

uint32_t MaxMagnitudeBits(const float* in, int64_t count) {
  uint32_t largest = 0;
  for (int64_t i = 0; i < count; ++i) largest = std::max(largest, FloatBits(in[i]) & 0x7FFFFFFFu);
  return largest;
}

}  // namespace

const RowKernels& PortableRowKernels() {
  static constexpr RowKernels kKernels = {HalfToFloatRow, FloatToHalfRow, Multiply, MaxMagnitudeBits,
                                          nullptr,        nullptr,        nullptr};
  return kKernels;
}

}  // namespace ortqlora

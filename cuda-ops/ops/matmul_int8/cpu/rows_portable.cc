#include <algorithm>
#include <cmath>

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

void QuantizeInt16(const float* in, int64_t count, float factor, int16_t* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = static_cast<int16_t>(std::nearbyint(in[i] * factor));
}

}  // namespace

const RowKernels& PortableRowKernels() {
  // No int8 and bf16 rows: the int16 and fp32 kernels serve those modes.
  static constexpr RowKernels kKernels = {HalfToFloatRow, FloatToHalfRow, Multiply, MaxMagnitudeBits,
                                          QuantizeInt16,  nullptr,        nullptr};
  return kKernels;
}

}  // namespace ortqlora

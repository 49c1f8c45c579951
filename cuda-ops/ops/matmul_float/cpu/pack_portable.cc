#include "common/half.h"
#include "ops/matmul_float/cpu/pack_kernels.h"

namespace ortqlora {
namespace {

struct Exact {
  static float Of(float value) { return value; }
};

struct RoundedToBf16 {
  static float Of(float value) { return BitsFloat(static_cast<uint32_t>(FloatToBf16(value)) << 16); }
};

template <class Rounding>
void PackRows(const PackRowsCall& call) {
  for (int64_t row = 0; row < call.rows; ++row) {
    const float* in = call.in + row * call.row_stride;
    auto* out = reinterpret_cast<float*>(call.out + row * call.out_stride);
    for (int64_t i = 0; i < call.reduction; ++i)
      out[i] = Rounding::Of(in[i * call.element_stride] * call.factor);
  }
}

template <class Rounding>
void PackPanel(const PackPanelCall& call) {
  for (int64_t first = 0; first < call.columns; first += 16) {
    const int64_t used = call.columns - first < 16 ? call.columns - first : 16;
    const float* in = call.in + first * call.column_stride;
    std::byte* granule = call.out + first / 16 * call.granule_stride;
    for (int64_t s = 0; s < call.reduction; ++s) {
      auto* out = reinterpret_cast<float*>(granule + s * call.step_stride);
      const float* from = in + s * call.element_stride;
      for (int64_t c = 0; c < used; ++c) out[c] = Rounding::Of(from[c * call.column_stride]);
      for (int64_t c = used; c < 16; ++c) out[c] = 0.0f;
    }
  }
}

}  // namespace

const PackKernels& PortableFloatPacking() {
  static constexpr PackKernels kKernels = {PackRows<Exact>, PackPanel<Exact>};
  return kKernels;
}

const PackKernels& PortableRoundedPacking() {
  static constexpr PackKernels kKernels = {PackRows<RoundedToBf16>, PackPanel<RoundedToBf16>};
  return kKernels;
}

}  // namespace ortqlora

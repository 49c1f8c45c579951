#include "ops/cross_entropy/cross_entropy_cuda.h"

#include <algorithm>

#include "common/cuda/check.h"
#include "common/cuda/convert_elements.h"
#include "common/cuda/cublas.h"
#include "ops/cross_entropy/cross_entropy_kernels.h"

namespace ortqlora::cuda {
namespace {

// Logits held at a time, 256 MiB in fp32: some 500 rows of a vocabulary of 128 Ki, enough to fill the device.
constexpr int64_t kMostLogits = int64_t{64} << 20;

int64_t Padded(int64_t bytes) { return (bytes + 255) / 256 * 256; }

struct Parts {
  int64_t rows;  // whose logits are held
  int64_t weight, slopes, losses, share, size;

  explicit Parts(const DeviceCrossEntropyCall& call) {
    rows = std::max<int64_t>(1, std::min(call.rows, kMostLogits / std::max<int64_t>(1, call.classes)));
    const bool is_float = call.element == Element::kFloat;
    weight = Padded(rows * call.classes * 4);
    slopes = weight + (call.weight_element == call.element
                           ? 0
                           : Padded(call.width * call.classes * SizeOf(call.element)));
    losses = slopes + (is_float || call.dx == nullptr ? 0 : Padded(rows * call.classes * 2));
    share = losses + Padded(call.rows * 4);
    size = share + 256;
  }
};

}  // namespace

int64_t CrossEntropyWorkspace(const DeviceCrossEntropyCall& call) { return Parts(call).size; }

void RunCrossEntropy(const DeviceCrossEntropyCall& call, void* workspace, cudaStream_t stream) {
  const Parts parts(call);
  auto* const memory = static_cast<char*>(workspace);
  auto* const share = reinterpret_cast<float*>(memory + parts.share);
  LaunchLabelShare(call, share, stream);

  MatrixView weight{call.element, call.weight, call.width, call.classes};
  if (call.transposed) weight = {call.element, call.weight, call.classes, call.width, true};
  if (call.weight_element != call.element) {
    LaunchConvert(call.weight_element, call.weight, call.element, memory + parts.weight, call.width * call.classes,
                  stream);
    weight.data = memory + parts.weight;
  }
  MatrixView back = weight;
  back.transposed = !back.transposed;

  SoftmaxRows rows;
  rows.logits = reinterpret_cast<float*>(memory);
  if (call.dx != nullptr) rows.slopes = call.element == Element::kFloat ? memory : memory + parts.slopes;
  rows.row_losses = reinterpret_cast<float*>(memory + parts.losses);
  rows.share = share;
  // fp16 has no room for slopes over thousands of rows: there dx is scaled at the end.
  rows.scale_slopes = call.element != Element::kHalf;
  const int64_t row_bytes = call.width * SizeOf(call.element);
  Cublas& cublas = Cublas::Get();
  for (rows.first = 0; call.classes != 0 && rows.first < call.rows; rows.first += parts.rows) {
    rows.rows = std::min(parts.rows, call.rows - rows.first);
    const MatrixView x{call.element, static_cast<const char*>(call.x) + rows.first * row_bytes, rows.rows, call.width};
    cublas.Multiply(1, x, weight, 0, Element::kFloat, rows.logits, stream);
    LaunchSoftmaxRows(call, rows, stream);
    if (call.dx == nullptr) continue;
    cublas.Multiply(1, {call.element, rows.slopes, rows.rows, call.classes}, back, 0, call.element,
                    static_cast<char*>(call.dx) + rows.first * row_bytes, stream);
  }
  LaunchMeanLoss(call, rows.row_losses, share, stream);
  if (call.dx != nullptr && !rows.scale_slopes && call.rows * call.width != 0) {
    LaunchScaleGradient(call, share, stream);
  }
}

}  // namespace ortqlora::cuda

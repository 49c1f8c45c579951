#include "ops/cross_entropy/cross_entropy_cuda.h"

#include <algorithm>

#include "common/cuda/check.h"
#include "common/cuda/convert_elements.h"
#include "common/cuda/cublas.h"
#include "ops/cross_entropy/cross_entropy_kernels.h"

namespace ortqlora::cuda {
namespace {

constexpr int64_t kWholeTiles = 256;  // rows

int64_t Padded(int64_t bytes) { return CeilDiv(bytes, 256) * 256; }

struct Parts {
  int64_t rows, pitch;  // of the logits held at a time
  int64_t weight, losses, share, size;

  explicit Parts(const DeviceCrossEntropyCall& call) {
    pitch = CeilDiv(std::max<int64_t>(1, call.classes), kLogitVector) * kLogitVector;
    rows = std::max<int64_t>(1, std::min(call.rows, call.most_logits / pitch));
    if (rows < call.rows && rows > kWholeTiles) rows -= rows % kWholeTiles;
    weight = Padded(rows * pitch * 4);
    losses = weight + (call.weight_element == call.element ? 0 : Padded(call.width * call.classes * SizeOf(call.element)));
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
  rows.pitch = parts.pitch;
  rows.slopes = call.dx != nullptr;
  rows.row_losses = reinterpret_cast<float*>(memory + parts.losses);
  rows.share = share;
  // fp16 has no room for slopes over thousands of rows: there dx is scaled at the end.
  rows.scale_slopes = call.element != Element::kHalf;
  const int64_t row_bytes = call.width * SizeOf(call.element);
  Cublas& cublas = Cublas::Get();
  for (rows.first = 0; call.classes != 0 && rows.first < call.rows; rows.first += parts.rows) {
    rows.rows = std::min(parts.rows, call.rows - rows.first);
    const MatrixView x{call.element, static_cast<const char*>(call.x) + rows.first * row_bytes, rows.rows, call.width};
    cublas.Multiply(1, x, weight, 0, Element::kFloat, rows.logits, stream, parts.pitch);
    LaunchSoftmaxRows(call, rows, stream);
    if (call.dx == nullptr) continue;
    const MatrixView slopes{call.element, memory, rows.rows, call.classes, false, parts.pitch * 4 / SizeOf(call.element)};
    cublas.Multiply(1, slopes, back, 0, call.element, static_cast<char*>(call.dx) + rows.first * row_bytes, stream);
  }
  LaunchMeanLoss(call, rows.row_losses, share, stream);
  if (call.dx != nullptr && !rows.scale_slopes && call.rows * call.width != 0) {
    LaunchScaleGradient(call, share, stream);
  }
}

}  // namespace ortqlora::cuda

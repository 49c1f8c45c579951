#include "ops/matmul_int8/activation_rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "common/aligned_buffer.h"
#include "common/half.h"

namespace ortqlora {
namespace {

// Row starts a power of two apart would all fall into the same few cache sets.
constexpr int64_t kRowPadding = 64;
constexpr int64_t kRowsPerTask = 8;

// Largest magnitudes of quantized activations. 13 bits and sign: 8191 * 128 * 2048 < 2^31, so a chunk of
// 2048 products cannot overflow an int32 sum.
constexpr float kInt16Limit = 8191;
constexpr float kInt8Limit = 127;

// A handful of rows is converted sooner than another thread wakes.
constexpr int64_t kSerialElements = int64_t{1} << 15;

std::byte* RowScratch(size_t bytes) {
  thread_local AlignedBuffer buffer;
  return buffer.Reserve(bytes);
}

int64_t Dwords(RowFormat format, int64_t elements) { return elements / ElementsPerStep(format); }

}  // namespace

std::byte* TaskScratch(size_t bytes) {
  thread_local AlignedBuffer buffer;
  return buffer.Reserve(bytes);
}

int64_t ActivationRows::Stride(RowFormat format, int64_t reduction) {
  return Dwords(format, reduction) * 4 + kRowPadding;
}

ActivationRows::ActivationRows(const RowConversion& conversion, const GemmCall& call, int64_t reduction,
                               int64_t first, int64_t rows, Parallel& parallel)
    : conversion_(conversion),
      count_(call.direction == Direction::kForward ? call.weight->k() : call.weight->n()),
      rows_(rows),
      stride_(Stride(conversion.format, reduction)),
      chunks_(std::max<int64_t>(1, (reduction + conversion.chunk - 1) / conversion.chunk)) {
  const int64_t row_bytes = RoundUp(rows * stride_, 64);
  const int64_t scale_bytes = RoundUp(rows * int64_t{sizeof(float)}, 64);
  const int64_t init_bytes = chunks_ * rows * int64_t{sizeof(int32_t)};
  data_ = RowScratch(static_cast<size_t>(row_bytes + scale_bytes + init_bytes));
  scale_ = reinterpret_cast<float*>(data_ + row_bytes);
  init_ = reinterpret_cast<int32_t*>(data_ + row_bytes + scale_bytes);

  const RowObserver* const observer = call.observer;
  const int64_t part = observer == nullptr ? kRowsPerTask : observer->task_rows();
  const int64_t block = observer == nullptr ? kRowsPerTask : RowObserver::kBlock;
  // Quantized rows are no floats any more, and those of a gradient have the scales in them.
  const bool plain = call.direction == Direction::kForward &&
                     (conversion.compute == Compute::kFp32 || conversion.compute == Compute::kBf16);
  Serial serial;
  (rows * count_ < kSerialElements ? serial : parallel).For((rows + part - 1) / part, [&](int64_t task) {
    const int64_t end = std::min(rows, (task + 1) * part);
    for (int64_t begin = task * part; begin < end; begin += block) {
      const int64_t count = std::min(block, end - begin);
      for (int64_t row = begin; row < begin + count; ++row) ConvertRow(call, first + row, row);
      if (observer != nullptr) observer->See(first + begin, count, plain ? data(begin) : nullptr, stride_);
    }
  });
}

// To fp32, times the scales for the gradient (the reduction runs over the columns they belong to), then to
// the kernels' format.
void ActivationRows::ConvertRow(const GemmCall& call, int64_t source_row, int64_t row) const {
  const RowKernels& kernels = *conversion_.kernels;
  std::byte* out = data_ + row * stride_;
  std::byte* buffer_bytes = out;
  if (conversion_.format != RowFormat::kFloat) {
    buffer_bytes = TaskScratch(static_cast<size_t>(count_) * sizeof(float));
  }
  auto* buffer = reinterpret_cast<float*>(buffer_bytes);
  const float* in = buffer;
  if (call.element == Element::kHalf) {
    kernels.half_to_float(static_cast<const uint16_t*>(call.in) + source_row * count_, count_, buffer);
  } else {
    in = static_cast<const float*>(call.in) + source_row * count_;
  }
  if (call.direction == Direction::kGradient) {
    kernels.multiply(in, call.scale, count_, buffer);
    in = buffer;
  }

  const auto used = static_cast<size_t>(Dwords(conversion_.format, count_) * 4);
  std::memset(out + used, 0, static_cast<size_t>(stride_) - used);
  scale_[row] = 1.0f;
  const Compute compute = conversion_.compute;
  if (compute == Compute::kInt16 || compute == Compute::kInt8) {
    Quantize(in, row);
  } else if (conversion_.format == RowFormat::kBf16) {
    kernels.to_bf16(in, count_, reinterpret_cast<uint16_t*>(out));
  } else if (compute == Compute::kBf16) {
    auto* floats = reinterpret_cast<float*>(out);
    for (int64_t i = 0; i < count_; ++i)
      floats[i] = BitsFloat(static_cast<uint32_t>(FloatToBf16(in[i])) << 16);
  } else if (in != buffer && count_ != 0) {
    std::memcpy(out, in, static_cast<size_t>(count_) * sizeof(float));
  }
}

// One scale a row. A row with NaN or infinity gets the scale NaN, hence NaN in all its outputs.
void ActivationRows::Quantize(const float* in, int64_t row) const {
  const RowKernels& kernels = *conversion_.kernels;
  std::byte* out = data_ + row * stride_;
  const float largest = BitsFloat(kernels.max_magnitude_bits(in, count_));
  const float limit = conversion_.compute == Compute::kInt8 ? kInt8Limit : kInt16Limit;
  if (!std::isfinite(largest)) {
    scale_[row] = std::numeric_limits<float>::quiet_NaN();
    std::memset(out, 0, static_cast<size_t>(stride_));
    for (int64_t chunk = 0; chunk < chunks_; ++chunk) init_[chunk * rows_ + row] = 0;
    return;
  }
  float factor = limit / largest;
  scale_[row] = largest / limit;
  // Zeros, or so small (below 1e-34) that the factor overflows: the row counts as zero.
  if (!std::isfinite(factor)) factor = scale_[row] = 0.0f;
  switch (conversion_.format) {
    case RowFormat::kInt8:
      for (int64_t chunk = 0; chunk < chunks_; ++chunk) {
        const int64_t begin = std::min(count_, chunk * conversion_.chunk);
        const int64_t count = std::min(count_ - begin, conversion_.chunk);
        auto* q = reinterpret_cast<int8_t*>(out) + begin;
        init_[chunk * rows_ + row] =
            -PackedWeight::kZero * kernels.quantize_int8(in + begin, count, factor, q);
      }
      break;
    case RowFormat::kInt16:
      kernels.quantize_int16(in, count_, factor, reinterpret_cast<int16_t*>(out));
      break;
    default:
      for (int64_t i = 0; i < count_; ++i) reinterpret_cast<float*>(out)[i] = std::nearbyint(in[i] * factor);
  }
}

}  // namespace ortqlora

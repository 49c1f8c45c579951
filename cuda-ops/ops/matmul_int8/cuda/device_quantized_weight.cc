#include "ops/matmul_int8/cuda/device_quantized_weight.h"

#include <map>
#include <tuple>

#include "common/cuda/check.h"
#include "common/cuda/convert_elements.h"
#include "common/cuda/ort_element.h"
#include "ops/matmul_int8/cuda/int8_rows.h"

namespace ortqlora::cuda {
namespace {

// What a copy of a weight was made from and for: memory, a form, K, N and the device.
using WeightKey = std::tuple<const void*, int, int64_t, int64_t, int>;

// Copies of constant weights; alive as long as a kernel uses them.
template <typename Fill>
std::shared_ptr<DeviceBuffer> SharedCopy(const void* data, int form, int64_t k, int64_t n, int64_t bytes,
                                         cudaStream_t stream, const Fill& fill) {
  static std::mutex mutex;
  static std::map<WeightKey, std::weak_ptr<DeviceBuffer>> known;
  const std::lock_guard<std::mutex> lock(mutex);
  std::weak_ptr<DeviceBuffer>& entry = known[{data, form, k, n, Device::Current().id}];
  if (auto copy = entry.lock(); copy != nullptr) return copy;
  auto copy = std::make_shared<DeviceBuffer>(static_cast<size_t>(bytes));
  fill(copy->data());
  // Once a weight: afterwards every stream may read it, ahead of its other work.
  Check(cudaStreamSynchronize(stream), "packing a weight");
  entry = copy;
  return copy;
}

std::shared_ptr<DeviceBuffer> SharedBlocks(const WeightSource& source, cudaStream_t stream) {
  return SharedCopy(source.data, static_cast<int>(source.layout), source.k, source.n,
                    BlockBytes(source.k, source.n), stream,
                    [&](void* to) { LaunchPackWeight(source, static_cast<uint8_t*>(to), stream); });
}

std::shared_ptr<DeviceBuffer> SharedInt8(const DeviceBlocks& blocks, Direction direction,
                                         cudaStream_t stream) {
  return SharedCopy(blocks.data, -1 - static_cast<int>(direction), blocks.k, blocks.n,
                    Int8WeightBytes(blocks), stream,
                    [&](void* to) { LaunchLayOutInt8(blocks, direction, static_cast<int8_t*>(to), stream); });
}

void CheckDeviceVector(const char* name, int64_t size, const TensorInfo& vector) {
  if (vector.type == ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16) {
    if (!vector.fully_known() || (vector.shape.size() == 1 && vector.shape[0] == size)) return;
    Fail(name, " has the shape ", ShapeText(vector.shape), ", expected [", size, "].");
  }
  CheckVector(name, size, vector);
}

bool Aligned16(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

}  // namespace

struct DeviceQuantizedWeight::Prepared {
  std::mutex mutex;
  std::shared_ptr<DeviceBuffer> blocks, int8;
  std::unique_ptr<DeviceBuffer> scale;
};

DeviceQuantizedWeight::DeviceQuantizedWeight(const KernelInfo& info, size_t q, size_t scale)
    : attributes_(info),
      q_index_(q),
      scale_index_(scale),
      constant_q_(info.ConstantInput(q).has_value()),
      constant_scale_(info.ConstantInput(scale).has_value()),
      padded_k_(RoundUp(attributes_.k, kTile64Pad)),
      padded_n_(RoundUp(attributes_.n, kTile64Pad)),
      prepared_(std::make_shared<Prepared>()) {
  if (attributes_.layout == WeightLayout::kPanel64) {
    Fail("layout is 'panel64', which the CPU kernels read; use 'tile64' or 'plain' on CUDA devices.");
  }
  CheckWeight(attributes_, info.Input(q));
  CheckDeviceVector("scale", attributes_.n, info.Input(scale));
}

int64_t DeviceQuantizedWeight::scratch() const {
  const bool packs = !constant_q_ && attributes_.layout != WeightLayout::kTile64;
  return (packs ? BlockBytes(attributes_.k, attributes_.n) : 0) +
         (constant_scale_ ? 0 : RoundUp(ScaleView::Bytes(padded_n_), 256));
}

DeviceQuantizedWeight::Ready DeviceQuantizedWeight::Get(const KernelContext& context, void* scratch,
                                                        void* stream_pointer) const {
  const auto stream = static_cast<cudaStream_t>(stream_pointer);
  const TensorView q = context.Input(q_index_), scale = context.Input(scale_index_);
  CheckWeight(attributes_, q.info);
  CheckDeviceVector("scale", attributes_.n, scale.info);
  const WeightSource source = SourceOf(attributes_, q);
  const bool in_place = source.layout == WeightLayout::kTile64;
  if (in_place && !Aligned16(source.data)) Fail("q in layout 'tile64' is not aligned to 16 bytes.");
  auto* free = static_cast<char*>(scratch);

  Ready ready;
  ready.frozen = constant_q_ && constant_scale_;
  ready.blocks = {static_cast<const uint8_t*>(source.data), attributes_.k, attributes_.n, padded_k_,
                  padded_n_};
  const std::lock_guard<std::mutex> lock(prepared_->mutex);
  if (!in_place) {
    if (constant_q_) {
      if (prepared_->blocks == nullptr) prepared_->blocks = SharedBlocks(source, stream);
      ready.blocks.data = static_cast<const uint8_t*>(prepared_->blocks->data());
    } else {
      auto* blocks = reinterpret_cast<uint8_t*>(free);
      free += BlockBytes(attributes_.k, attributes_.n);
      LaunchPackWeight(source, blocks, stream);
      ready.blocks.data = blocks;
    }
  }
  const auto bytes = static_cast<size_t>(ScaleView::Bytes(padded_n_));
  if (constant_scale_) {
    if (prepared_->scale == nullptr) {
      auto memory = std::make_unique<DeviceBuffer>(bytes);
      LaunchPrepareScale(scale.data, ElementOf("scale", scale.info), attributes_.n, padded_n_, memory->data(),
                         stream);
      Check(cudaStreamSynchronize(stream), "preparing scales");
      prepared_->scale = std::move(memory);
    }
    ready.scale = ScaleView::Of(prepared_->scale->data(), padded_n_);
  } else {
    LaunchPrepareScale(scale.data, ElementOf("scale", scale.info), attributes_.n, padded_n_, free, stream);
    ready.scale = ScaleView::Of(free, padded_n_);
  }
  return ready;
}

const int8_t* DeviceQuantizedWeight::Int8(const DeviceBlocks& blocks, Direction direction,
                                          void* stream) const {
  const std::lock_guard<std::mutex> lock(prepared_->mutex);
  if (prepared_->int8 == nullptr) {
    prepared_->int8 = SharedInt8(blocks, direction, static_cast<cudaStream_t>(stream));
  }
  return static_cast<const int8_t*>(prepared_->int8->data());
}

DeviceCompute::DeviceCompute(const KernelInfo& info, Element element) {
  switch (ParseCompute(info.String("compute", "auto"))) {
    case Compute::kFp32:
      float_terms = 3;
      return;
    case Compute::kInt16:
      float_terms = 2;
      return;
    case Compute::kBf16:
    case Compute::kAuto:
      return;
    case Compute::kInt8:
      int8 = true;
      if (element != Element::kFloat) return;
      Fail(
          "compute mode 'int8' has CUDA kernels for half-precision activations only; use --precision bf16 or "
          "fp16 with "
          "it, or another --compute.");
  }
}

DeviceGemmCall GemmCallOf(const DeviceQuantizedWeight& quantized, Direction direction, Element element,
                          const DeviceCompute& compute, int64_t rows) {
  const WeightAttributes& attributes = quantized.attributes();
  DeviceGemmCall call;
  call.direction = direction;
  call.element = element;
  call.float_terms = compute.float_terms;
  call.int8 = compute.int8 && quantized.constant();
  call.weight = {nullptr, attributes.k, attributes.n, RoundUp(attributes.k, kTile64Pad),
                 RoundUp(attributes.n, kTile64Pad)};
  call.rows = rows;
  return call;
}

namespace {

bool NeedsConversion(const TensorView& bias) {
  return bias.data != nullptr && bias.info.type != ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
}

int64_t BiasBytes(const TensorView& bias) {
  return NeedsConversion(bias) ? RoundUp(bias.info.size() * 4, 256) : 0;
}

}  // namespace

int64_t BoundScratch(const DeviceQuantizedWeight& quantized, const TensorView& bias) {
  return BiasBytes(bias) + quantized.scratch();
}

void BindWeight(const KernelContext& context, const DeviceQuantizedWeight& quantized, const TensorView& bias,
                const GemmPlan& plan, void* scratch, void* stream, DeviceGemmCall& call) {
  if (bias.data != nullptr) CheckDeviceVector("bias", quantized.attributes().n, bias.info);
  call.bias = bias.As<float>();
  if (NeedsConversion(bias)) {
    LaunchConvert(ElementOf("bias", bias.info), bias.data, Element::kFloat, scratch, bias.info.size(),
                  static_cast<cudaStream_t>(stream));
    call.bias = static_cast<const float*>(scratch);
  }
  const DeviceQuantizedWeight::Ready ready =
      quantized.Get(context, static_cast<char*>(scratch) + BiasBytes(bias), stream);
  call.weight = ready.blocks;
  call.scale = ready.scale;
  call.frozen_weight = ready.frozen;
  if (plan.kernel == GemmKernel::kSm90Int8)
    call.int8_weight = quantized.Int8(ready.blocks, call.direction, stream);
}

}  // namespace ortqlora::cuda

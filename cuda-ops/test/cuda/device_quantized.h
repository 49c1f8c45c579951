#pragma once

#include "ops/matmul_int8/cuda/gemm_cuda.h"
#include "ops/matmul_int8/cuda/int8_rows.h"
#include "test/cuda/device_array.h"
#include "test/matmul_int8_reference.h"

namespace ortqlora::test {

// A weight packed on the device, from either layout.
struct DeviceWeight {
  Weight host;
  DeviceArray q, scale, bias, blocks, scale_memory;

  DeviceWeight(int64_t k, int64_t n, uint32_t seed, bool eetq = false)
      : host(k, n, seed),
        q(eetq ? DeviceArray::Of(host.Eetq()) : DeviceArray::Of(host.q)),
        scale(DeviceArray::Of(host.scale)),
        bias(DeviceArray::Of(host.bias)),
        blocks(static_cast<size_t>(cuda::BlockBytes(k, n))),
        scale_memory(static_cast<size_t>(cuda::ScaleView::Bytes(RoundUp(n, kTile64Pad)))) {
    cuda::LaunchPackWeight({q.data(), eetq ? WeightLayout::kEetqSm80 : WeightLayout::kPlain, k, n},
                           static_cast<uint8_t*>(blocks.data()), nullptr);
    cuda::LaunchPrepareScale(scale.data(), Element::kFloat, n, RoundUp(n, kTile64Pad), scale_memory.data(), nullptr);
  }

  cuda::DeviceBlocks view() const {
    return {static_cast<const uint8_t*>(blocks.data()), host.k, host.n, RoundUp(host.k, kTile64Pad),
            RoundUp(host.n, kTile64Pad)};
  }
  // The weight laid out for int8 products.
  DeviceArray Int8(Direction direction) const {
    DeviceArray out(static_cast<size_t>(cuda::Int8WeightBytes(view())));
    cuda::LaunchLayOutInt8(view(), direction, static_cast<int8_t*>(out.data()), nullptr);
    return out;
  }
  cuda::ScaleView scales() const { return cuda::ScaleView::Of(scale_memory.data(), RoundUp(host.n, kTile64Pad)); }
};

}  // namespace ortqlora::test

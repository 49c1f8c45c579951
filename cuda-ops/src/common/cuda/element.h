#pragma once

#include <cstdint>

namespace ortqlora::cuda {

// Types of activations on the device.
enum class Element { kFloat, kHalf, kBfloat16 };

constexpr int64_t SizeOf(Element element) { return element == Element::kFloat ? 4 : 2; }

}  // namespace ortqlora::cuda

#pragma once

#include <cstdint>

namespace ortqlora {
namespace {

// y = x * cos + [-second half, first half] * sin
void RotaryRow(const float* x, const float* cos, const float* sin, int64_t half, float* y) {
  ForEachVec(half, [=](int64_t i, int64_t n) {
    const Vec a = Vec::Load(x + i, n), b = Vec::Load(x + half + i, n);
    const Vec first = a * Vec::Load(cos + i, n) - b * Vec::Load(sin + i, n);
    const Vec second = MultiplyAdd(a, Vec::Load(sin + half + i, n), b * Vec::Load(cos + half + i, n));
    first.Store(y + i, n);
    second.Store(y + half + i, n);
  });
}

// dx = dy * cos + [second half, -first half] of dy * sin
void RotaryGradRow(const float* dy, const float* cos, const float* sin, int64_t half, float* dx) {
  ForEachVec(half, [=](int64_t i, int64_t n) {
    const Vec a = Vec::Load(dy + i, n), b = Vec::Load(dy + half + i, n);
    const Vec first = MultiplyAdd(b, Vec::Load(sin + half + i, n), a * Vec::Load(cos + i, n));
    const Vec second = b * Vec::Load(cos + half + i, n) - a * Vec::Load(sin + i, n);
    first.Store(dx + i, n);
    second.Store(dx + half + i, n);
  });
}

}  // namespace
}  // namespace ortqlora

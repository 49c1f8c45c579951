#pragma once

#include <cstdint>

namespace ortqlora {
namespace {

void SwiGluRow(const float* gate, const float* up, int64_t count, float* y) {
  ForEachVec(count, [=](int64_t i, int64_t n) {
    const Vec g = Vec::Load(gate + i, n);
    (g * Sigmoid(g) * Vec::Load(up + i, n)).Store(y + i, n);
  });
}

// With s = sigmoid(g): dup = dy * g * s, dg = dy * up * s * (1 + g * (1 - s)).
void SwiGluGradRow(const float* dy, const float* gate, const float* up, int64_t count, float* dgate,
                   float* dup) {
  const Vec one = Vec::Set(1.0f);
  ForEachVec(count, [=](int64_t i, int64_t n) {
    const Vec g = Vec::Load(gate + i, n), s = Sigmoid(g), gradient = Vec::Load(dy + i, n);
    const Vec slope = s * MultiplyAdd(g, one - s, one);
    const Vec along_gate = gradient * Vec::Load(up + i, n) * slope;
    (gradient * (g * s)).Store(dup + i, n);
    along_gate.Store(dgate + i, n);
  });
}

}  // namespace
}  // namespace ortqlora

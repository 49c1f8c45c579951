#pragma once

#include <cstdint>

namespace ortqlora {
namespace {

// y = x * P(x), P the normal distribution.
struct GeluErf {
  static Vec Probability(Vec x) {
    const Vec half = Vec::Set(0.5f);
    return MultiplyAdd(half, Erf(x * Vec::Set(0.70710678118654752f)), half);
  }
  static Vec Value(Vec x) { return x * Probability(x); }
  // P(x) + x * density(x)
  static Vec Slope(Vec x) {
    const Vec density = Exp(x * x * Vec::Set(-0.5f)) * Vec::Set(0.39894228040143268f);
    return MultiplyAdd(x, density, Probability(x));
  }
};

// The approximation with P(x) = (1 + tanh(u)) / 2, u = sqrt(2 / pi) (x + 0.044715 x^3).
struct GeluTanh {
  static Vec Angle(Vec x) {
    const Vec cube = MultiplyAdd(Vec::Set(0.044715f), x * x, Vec::Set(1.0f));
    return Vec::Set(0.79788456080286536f) * x * cube;
  }
  static Vec Value(Vec x) {
    const Vec half = Vec::Set(0.5f);
    return x * MultiplyAdd(half, Tanh(Angle(x)), half);
  }
  static Vec Slope(Vec x) {
    const Vec half = Vec::Set(0.5f), one = Vec::Set(1.0f), t = Tanh(Angle(x));
    const Vec angle_slope = Vec::Set(0.79788456080286536f) * MultiplyAdd(Vec::Set(3 * 0.044715f), x * x, one);
    return MultiplyAdd(half * x * (one - t * t), angle_slope, MultiplyAdd(half, t, half));
  }
};

template <class Form>
void GeluRow(const float* x, int64_t count, float* y) {
  ForEachVec(count, [=](int64_t i, int64_t n) { Form::Value(Vec::Load(x + i, n)).Store(y + i, n); });
}

template <class Form>
void GeluGradRow(const float* dy, const float* x, int64_t count, float* dx) {
  ForEachVec(count, [=](int64_t i, int64_t n) {
    (Vec::Load(dy + i, n) * Form::Slope(Vec::Load(x + i, n))).Store(dx + i, n);
  });
}

}  // namespace
}  // namespace ortqlora

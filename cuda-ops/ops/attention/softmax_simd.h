#pragma once

#include <cstdint>
#include <limits>

namespace ortqlora {
namespace {

float LargestOf(const float* x, int64_t count) {
  Vec most = Vec::Set(-std::numeric_limits<float>::infinity());
  int64_t i = 0;
  for (; i + Vec::kLanes <= count; i += Vec::kLanes) most = Max(most, Vec::Load(x + i, Vec::kLanes));
  float result = Largest(most);
  for (; i < count; ++i) result = x[i] > result ? x[i] : result;
  return result;
}

float ExpSum(const float* x, float shift, int64_t count, float* y) {
  const Vec minus = Vec::Set(shift);
  Vec sum = Vec::Set(0.0f);
  int64_t i = 0;
  for (; i + Vec::kLanes <= count; i += Vec::kLanes) {
    const Vec value = Exp(Vec::Load(x + i, Vec::kLanes) - minus);
    value.Store(y + i, Vec::kLanes);
    sum = sum + value;
  }
  float total = Sum(sum);
  if (i < count) {
    float rest[Vec::kLanes];
    const Vec value = Exp(Vec::Load(x + i, count - i) - minus);
    value.Store(y + i, count - i);
    value.Store(rest, Vec::kLanes);
    for (int64_t j = 0; j < count - i; ++j) total += rest[j];
  }
  return total;
}

void Scale(float* x, float factor, int64_t count) {
  const Vec by = Vec::Set(factor);
  ForEachVec(count, [=](int64_t i, int64_t n) { (Vec::Load(x + i, n) * by).Store(x + i, n); });
}

void AddScaled(const float* x, float factor, int64_t count, float* y) {
  const Vec by = Vec::Set(factor);
  ForEachVec(count, [=](int64_t i, int64_t n) {
    MultiplyAdd(Vec::Load(x + i, n), by, Vec::Load(y + i, n)).Store(y + i, n);
  });
}

float Dot(const float* x, const float* y, int64_t count) {
  Vec sum = Vec::Set(0.0f);
  ForEachVec(count,
             [&](int64_t i, int64_t n) { sum = MultiplyAdd(Vec::Load(x + i, n), Vec::Load(y + i, n), sum); });
  return Sum(sum);
}

void SoftmaxGrad(const float* p, const float* dp, float delta, int64_t count, float* ds) {
  const Vec minus = Vec::Set(delta);
  ForEachVec(count, [=](int64_t i, int64_t n) {
    (Vec::Load(p + i, n) * (Vec::Load(dp + i, n) - minus)).Store(ds + i, n);
  });
}

}  // namespace
}  // namespace ortqlora

#pragma once

// The vector of kernels that are written once for all paths (see vec_math.h): here of one element.

#include <cmath>
#include <cstdint>
#include <cstring>

namespace ortqlora {
namespace {

struct Vec {
  static constexpr int64_t kLanes = 1;
  float v;

  static Vec Set(float value) { return {value}; }
  static Vec Load(const float* p, int64_t) { return {*p}; }
  void Store(float* p, int64_t) const { *p = v; }

  friend Vec operator+(Vec a, Vec b) { return {a.v + b.v}; }
  friend Vec operator-(Vec a, Vec b) { return {a.v - b.v}; }
  friend Vec operator*(Vec a, Vec b) { return {a.v * b.v}; }
  friend Vec operator/(Vec a, Vec b) { return {a.v / b.v}; }
};

inline Vec MultiplyAdd(Vec a, Vec b, Vec c) { return {a.v * b.v + c.v}; }
// The second operand where one is NaN.
inline Vec Max(Vec a, Vec b) { return {a.v > b.v ? a.v : b.v}; }
inline Vec Min(Vec a, Vec b) { return {a.v < b.v ? a.v : b.v}; }
inline Vec Sqrt(Vec a) { return {std::sqrt(a.v)}; }
inline Vec Round(Vec a) { return {std::nearbyint(a.v)}; }
// a < limit ? b : c
inline Vec WhereLess(Vec a, Vec limit, Vec b, Vec c) { return {a.v < limit.v ? b.v : c.v}; }
// 2^n for whole n in [-126, 127].
inline Vec PowerOfTwo(Vec n) {
  const uint32_t bits = static_cast<uint32_t>(static_cast<int32_t>(n.v) + 127) << 23;
  Vec power;
  std::memcpy(&power.v, &bits, sizeof bits);
  return power;
}
inline float Sum(Vec a) { return a.v; }
inline float Largest(Vec a) { return a.v; }

}  // namespace
}  // namespace ortqlora

#pragma once

#include <cstdint>
#include <cstring>

namespace ortqlora {

inline uint32_t FloatBits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline float BitsFloat(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline float HalfToFloat(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  const uint32_t magnitude = half & 0x7FFFu;
  if (magnitude >= 0x7C00u) {  // Infinity, or NaN made quiet as the F16C instructions do.
    const uint32_t quiet = magnitude > 0x7C00u ? 0x00400000u : 0u;
    return BitsFloat(sign | 0x7F800000u | (magnitude & 0x3FFu) << 13 | quiet);
  }
  // Move the exponent field into place, then let one multiplication by 2^112 rebias it; subnormals too.
  const float scaled = BitsFloat(magnitude << 13) * 0x1p112f;
  return BitsFloat(sign | FloatBits(scaled));
}

// Rounds to nearest, ties to even.
inline uint16_t FloatToHalf(float value) {
  const uint32_t bits = FloatBits(value);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000u);
  const uint32_t magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return static_cast<uint16_t>(sign | 0x7E00u | (magnitude >> 13 & 0x1FFu));
  if (magnitude >= 0x477FF000u) return static_cast<uint16_t>(sign | 0x7C00u);
  if (magnitude < 0x38800000u) {
    // Subnormal half: adding 0.5 aligns the significand so that its last bit weighs 2^-24, and rounds.
    return static_cast<uint16_t>(sign | (FloatBits(BitsFloat(magnitude) + 0.5f) - 0x3F000000u));
  }
  const uint32_t odd = magnitude >> 13 & 1u;
  return static_cast<uint16_t>(sign | ((magnitude + 0x0FFFu + odd - 0x38000000u) >> 13));
}

// Rounds to nearest, ties to even; NaN stays NaN.
inline uint16_t FloatToBf16(float value) {
  const uint32_t bits = FloatBits(value);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<uint16_t>(bits >> 16 | 0x40u);
  return static_cast<uint16_t>((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}

}  // namespace ortqlora

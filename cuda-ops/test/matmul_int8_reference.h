#pragma once

// What the int8 products are measured against: the same sums in float64 on the dequantized weight.

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "common/half.h"
#include "ops/matmul_int8/gemm.h"

namespace ortqlora::test {

// A weight and its scales, q over the whole of int8.
struct Weight {
  int64_t k, n;
  std::vector<int8_t> q;
  std::vector<float> scale, bias;

  Weight(int64_t k_in, int64_t n_in, uint32_t seed) : k(k_in), n(n_in) {
    std::mt19937 random(seed);
    std::uniform_int_distribution<int> bytes(-128, 127);
    std::uniform_real_distribution<float> scales(0.001f, 0.01f);
    std::normal_distribution<float> normal;
    q.resize(static_cast<size_t>(k * n));
    for (int8_t& value : q) value = static_cast<int8_t>(bytes(random));
    for (int64_t i = 0; i < n; ++i) {
      scale.push_back(HalfToFloat(FloatToHalf(scales(random))));
      bias.push_back(normal(random));
    }
  }

  WeightSource source() const { return {q.data(), WeightLayout::kPlain, k, n}; }

  // The same weight in EETQ's SM80 layout (closed formula of its specification).
  std::vector<uint8_t> Eetq() const {
    const int64_t padded_k = RoundUp(k, 64), padded_n = RoundUp(n, 64);
    std::vector<uint8_t> bytes(static_cast<size_t>(padded_k * padded_n), 128);
    for (int64_t row = 0; row < k; ++row) {
      for (int64_t col = 0; col < n; ++col) {
        const int64_t offset = (col >> 1) * 2 * padded_k + (row >> 6) * 128 + (col & 1) * 64 + (row & 48) +
                               2 * (row & 7) + ((row >> 3) & 1);
        bytes[static_cast<size_t>(offset)] =
            static_cast<uint8_t>(q[static_cast<size_t>(row * n + col)] + 128);
      }
    }
    return bytes;
  }
};

inline std::vector<float> RandomRows(int64_t rows, int64_t columns, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<size_t>(rows * columns));
  for (float& value : x) value = normal(random);
  return x;
}

inline std::vector<double> Reference(const Weight& w, Direction direction, const std::vector<float>& in,
                                     int64_t rows, bool bias) {
  const bool forward = direction == Direction::kForward;
  const int64_t reduction = forward ? w.k : w.n, outputs = forward ? w.n : w.k;
  std::vector<double> out(static_cast<size_t>(rows * outputs), 0.0);
  for (int64_t m = 0; m < rows; ++m) {
    double* y = out.data() + m * outputs;
    const float* x = in.data() + m * reduction;
    for (int64_t k = 0; k < w.k; ++k) {
      for (int64_t n = 0; n < w.n; ++n) {
        const double weight = double{w.scale[static_cast<size_t>(n)]} * w.q[static_cast<size_t>(k * w.n + n)];
        forward ? y[n] += x[k] * weight : y[k] += x[n] * weight;
      }
    }
    for (int64_t n = 0; bias && n < outputs; ++n) y[n] += w.bias[static_cast<size_t>(n)];
  }
  return out;
}

// |actual - expected| / |expected| over the whole matrix.
inline double RelativeError(const std::vector<float>& actual, const std::vector<double>& expected) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    difference += (actual[i] - expected[i]) * (actual[i] - expected[i]);
    size += expected[i] * expected[i];
  }
  return size == 0 ? std::sqrt(difference) : std::sqrt(difference / size);
}

inline std::vector<float> RunGemm(const Int8Gemm& gemm, const PackedWeight& packed, const Weight& w,
                                  Direction direction, const std::vector<float>& in, int64_t rows, bool bias,
                                  Parallel& parallel) {
  const int64_t outputs = direction == Direction::kForward ? w.n : w.k;
  std::vector<float> out(static_cast<size_t>(rows * outputs), std::nanf(""));
  GemmCall call;
  call.direction = direction;
  call.weight = &packed;
  call.scale = w.scale.data();
  call.bias = bias ? w.bias.data() : nullptr;
  call.in = in.data();
  call.out = out.data();
  call.rows = rows;
  gemm.Run(call, parallel);
  return out;
}

constexpr Compute kComputes[] = {Compute::kAuto, Compute::kFp32, Compute::kBf16, Compute::kInt16,
                                 Compute::kInt8};

}  // namespace ortqlora::test

#pragma once

// Helpers of tests that compare a kernel with the same formula in float64.

#include <cmath>
#include <cstdint>
#include <functional>
#include <vector>

namespace ortqlora::test {

using Doubles = std::vector<double>;

inline std::vector<float> NaNs(int64_t size) {
  return std::vector<float>(static_cast<size_t>(size), std::nanf(""));
}

// out[i, j] = sum over s of a(i, s) * b(s, j)
template <typename A, typename B>
Doubles Product(int64_t rows, int64_t reduction, int64_t columns, const A& a, const B& b) {
  Doubles out(static_cast<size_t>(rows * columns), 0.0);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t s = 0; s < reduction; ++s) {
      for (int64_t j = 0; j < columns; ++j) out[static_cast<size_t>(i * columns + j)] += a(i, s) * b(s, j);
    }
  }
  return out;
}

// Element (i, j) of a row-major matrix, and of its transpose.
template <typename T>
auto At(const std::vector<T>& values, int64_t columns) {
  return [&values, columns](int64_t i, int64_t j) {
    return double{values[static_cast<size_t>(i * columns + j)]};
  };
}

template <typename T>
auto Swapped(const std::vector<T>& values, int64_t columns) {
  return [&values, columns](int64_t i, int64_t j) {
    return double{values[static_cast<size_t>(j * columns + i)]};
  };
}

// The sum over all outputs of weight * value changes by this much where element `at` of `in` moves: the
// gradient of that element, by a central difference in float64.
inline double Slope(Doubles in, size_t at, const std::vector<float>& weights,
                    const std::function<Doubles(const Doubles&)>& function) {
  const double step = 1e-5, centre = in[at];
  const auto sum = [&](double value) {
    in[at] = value;
    const Doubles out = function(in);
    double total = 0;
    for (size_t i = 0; i < out.size(); ++i) total += weights[i] * out[i];
    return total;
  };
  return (sum(centre + step) - sum(centre - step)) / (2 * step);
}

inline Doubles Slopes(const std::vector<float>& in, const std::vector<float>& weights,
                      const std::function<Doubles(const Doubles&)>& function) {
  const Doubles exact(in.begin(), in.end());
  Doubles slopes;
  for (size_t i = 0; i < in.size(); ++i) slopes.push_back(Slope(exact, i, weights, function));
  return slopes;
}

}  // namespace ortqlora::test

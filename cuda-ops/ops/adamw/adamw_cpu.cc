#include "ops/adamw/adamw_cpu.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace ortqlora {

void StepAdamW(const SimdKernels& kernels, const AdamWCall& call, Parallel& parallel) {
  // What is left of 1 after many factors close to 1 needs float64.
  const double step = static_cast<double>(call.step);
  const double rate = call.rate, beta1 = call.beta1, beta2 = call.beta2;
  AdamWFactors factors;
  factors.beta1 = call.beta1;
  factors.beta2 = call.beta2;
  factors.gradient = static_cast<float>((1 - beta1) * call.factor);
  factors.square = static_cast<float>((1 - beta2) * call.factor * call.factor);
  // The root of the second correction is taken out of the quotient, one multiplication less an element.
  const double root = std::sqrt(1 - std::pow(beta2, step));
  factors.rate = static_cast<float>(rate * root / (1 - std::pow(beta1, step)));
  factors.epsilon = static_cast<float>(call.epsilon * root);
  factors.keep = static_cast<float>(1 - rate * call.weight_decay);
  ForRows(parallel, call.count, 1, [&](int64_t first, int64_t count) {
    kernels.adamw(factors, call.p + first, call.g + first, call.m + first, call.v + first, count,
                  call.new_p + first, call.new_m + first, call.new_v + first);
  });
}

double SumOfSquares(const SimdKernels& kernels, const float* x, int64_t count, Parallel& parallel) {
  constexpr int64_t kPart = int64_t{1} << 15;
  std::vector<double> parts(static_cast<size_t>((count + kPart - 1) / kPart));
  parallel.For(static_cast<int64_t>(parts.size()), [&](int64_t part) {
    const int64_t first = part * kPart;
    parts[static_cast<size_t>(part)] = kernels.squares(x + first, std::min(kPart, count - first));
  });
  double sum = 0;
  for (double part : parts) sum += part;
  return sum;
}

}  // namespace ortqlora

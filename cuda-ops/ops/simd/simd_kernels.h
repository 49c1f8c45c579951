#pragma once

#include <cstdint>

#include "common/cpu_path.h"

namespace ortqlora {

// The scalars of one AdamW step (ops/adamw): m = beta1 m + gradient g, v = beta2 v + square g^2,
// p = keep p - rate m / (sqrt(v) + epsilon).
struct AdamWFactors {
  float beta1, beta2, gradient, square, rate, epsilon, keep;
};

// Kernels on rows of fp32, one set a CPU path: the same sources (ops/*/*_simd.h) compiled for vectors of one,
// 8 and 16 elements. Sums are kept in a fixed order, so that a row's result depends on the path alone.
struct SimdKernels {
  // y = x * inv * weight; returns inv = 1 / sqrt(mean(x^2) + epsilon).
  float (*rms_norm)(const float* x, const float* weight, int64_t count, float epsilon, float* y);
  void (*rms_norm_grad)(const float* dy, const float* x, const float* weight, float inv, int64_t count,
                        float* dx);
  // dweight += dy * x * inv
  void (*rms_norm_weight_grad)(const float* dy, const float* x, float inv, int64_t count, float* dweight);

  // y = (x - mean) * inv * weight + bias; bias may be null.
  void (*layer_norm)(const float* x, const float* weight, const float* bias, int64_t count, float epsilon,
                     float* y, float* mean, float* inv);
  void (*layer_norm_grad)(const float* dy, const float* x, const float* weight, float mean, float inv,
                          int64_t count, float* dx);
  // dweight += dy * (x - mean) * inv, dbias += dy
  void (*layer_norm_weight_grad)(const float* dy, const float* x, float mean, float inv, int64_t count,
                                 float* dweight, float* dbias);

  // y = gate * sigmoid(gate) * up
  void (*swiglu)(const float* gate, const float* up, int64_t count, float* y);
  void (*swiglu_grad)(const float* dy, const float* gate, const float* up, int64_t count, float* dgate,
                      float* dup);

  void (*gelu_erf)(const float* x, int64_t count, float* y);
  void (*gelu_erf_grad)(const float* dy, const float* x, int64_t count, float* dx);
  void (*gelu_tanh)(const float* x, int64_t count, float* y);
  void (*gelu_tanh_grad)(const float* dy, const float* x, int64_t count, float* dx);

  // One head of 2 * half features; y may be x.
  void (*rotary)(const float* x, const float* cos, const float* sin, int64_t half, float* y);
  void (*rotary_grad)(const float* dy, const float* cos, const float* sin, int64_t half, float* dx);

  // Largest element, -infinity of none.
  float (*largest)(const float* x, int64_t count);
  // y = exp(x - shift); returns the sum.
  float (*exp_sum)(const float* x, float shift, int64_t count, float* y);
  // x *= factor
  void (*scale)(float* x, float factor, int64_t count);
  // y += factor * x
  void (*add_scaled)(const float* x, float factor, int64_t count, float* y);
  float (*dot)(const float* x, const float* y, int64_t count);
  // ds = p * (dp - delta)
  void (*softmax_grad)(const float* p, const float* dp, float delta, int64_t count, float* ds);

  // Each output may be its input.
  void (*adamw)(const AdamWFactors& factors, const float* p, const float* g, const float* m, const float* v,
                int64_t count, float* new_p, float* new_m, float* new_v);
  // The sum of x^2 in float64.
  double (*squares)(const float* x, int64_t count);
};

const SimdKernels& SimdKernelsOf(CpuPath path);

const SimdKernels& PortableSimdKernels();
const SimdKernels& Avx2SimdKernels();
const SimdKernels& Avx512SimdKernels();

}  // namespace ortqlora

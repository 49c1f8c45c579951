#pragma once

// Fills the table from the kernels of the Vec included before.

#include "common/simd/vec_math.h"
#include "ops/adamw/adamw_simd.h"
#include "ops/attention/softmax_simd.h"
#include "ops/gelu/gelu_simd.h"
#include "ops/normalization/normalization_simd.h"
#include "ops/rotary/rotary_simd.h"
#include "ops/simd/simd_kernels.h"
#include "ops/swiglu/swiglu_simd.h"

namespace ortqlora {
namespace {

constexpr SimdKernels MakeSimdKernels() {
  SimdKernels kernels{};
  kernels.rms_norm = RmsNormRow;
  kernels.rms_norm_grad = RmsNormGradRow;
  kernels.rms_norm_weight_grad = RmsNormWeightGradRow;
  kernels.layer_norm = LayerNormRow;
  kernels.layer_norm_grad = LayerNormGradRow;
  kernels.layer_norm_weight_grad = LayerNormWeightGradRow;
  kernels.swiglu = SwiGluRow;
  kernels.swiglu_grad = SwiGluGradRow;
  kernels.gelu_erf = GeluRow<GeluErf>;
  kernels.gelu_erf_grad = GeluGradRow<GeluErf>;
  kernels.gelu_tanh = GeluRow<GeluTanh>;
  kernels.gelu_tanh_grad = GeluGradRow<GeluTanh>;
  kernels.rotary = RotaryRow;
  kernels.rotary_grad = RotaryGradRow;
  kernels.largest = LargestOf;
  kernels.exp_sum = ExpSum;
  kernels.scale = Scale;
  kernels.add_scaled = AddScaled;
  kernels.dot = Dot;
  kernels.softmax_grad = SoftmaxGrad;
  kernels.adamw = AdamWRow;
  kernels.squares = Squares;
  return kernels;
}

}  // namespace
}  // namespace ortqlora

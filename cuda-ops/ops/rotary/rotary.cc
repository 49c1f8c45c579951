#include "ops/rotary/rotary.h"

#include "common/error.h"
#include "common/shape_check.h"
#include "ops/attention/head_layout.h"

namespace ortqlora {

template <bool kGradient>
RotaryOp<kGradient>::RotaryOp(const KernelInfo& info)
    : kernels_(SimdKernelsOf(SelectCpuPath())), sequence_first_(IsSequenceFirst(info)) {
  const TensorInfo x = info.Input(0), cos = info.Input(1), sin = info.Input(2);
  CheckSameShape("sin", sin, "cos", cos);
  CheckShape(kGradient ? "dy" : "x", x, {-1, -1, -1, -1});
  if (x.fully_known() && x.has_shape && cos.fully_known() && cos.has_shape) Check(x, cos, sin);
}

template <bool kGradient>
RotaryShape RotaryOp<kGradient>::Check(const TensorInfo& x, const TensorInfo& cos,
                                       const TensorInfo& sin) const {
  CheckSameShape("sin", sin, "cos", cos);
  CheckShape(kGradient ? "dy" : "x", x, {-1, -1, -1, -1});
  RotaryShape shape{};
  shape.batch = x.shape[0];
  shape.sequence_first = sequence_first_;
  shape.heads = x.shape[sequence_first_ ? 2 : 1];
  shape.sequence = x.shape[sequence_first_ ? 1 : 2];
  shape.size = x.shape[3];

  std::vector<int64_t> angles = cos.shape;
  // The axis of heads, wherever the table has it.
  for (ptrdiff_t axis : {1, 2}) {
    if (angles.size() == 4 && angles[static_cast<size_t>(axis)] == 1 &&
        angles[static_cast<size_t>(3 - axis)] == shape.sequence) {
      angles.erase(angles.begin() + axis);
    }
  }
  if (angles.size() == 2) angles.insert(angles.begin(), 1);
  const bool fits = angles.size() == 3 && (angles[0] == 1 || angles[0] == shape.batch) &&
                    angles[1] == shape.sequence && angles[2] % 2 == 0 && angles[2] <= shape.size;
  if (!fits) {
    Fail("cos and sin have the shape ", ShapeText(cos.shape), ", expected [", shape.sequence, ", R] or [",
         shape.batch, " or 1, ", shape.sequence, ", R] with an even R of at most ", shape.size, " for ",
         kGradient ? "dy " : "x ", ShapeText(x.shape), ".");
  }
  shape.turned = angles[2];
  shape.batched = angles[0] != 1;
  return shape;
}

template <bool kGradient>
void RotaryOp<kGradient>::Compute(KernelContext& context) const {
  const TensorView x = context.Input(0), cos = context.Input(1), sin = context.Input(2);
  const RotaryShape shape = Check(x.info, cos.info, sin.info);
  auto* const y = static_cast<float*>(context.Output(0, x.info.shape));
  RotateHeads(kGradient ? kernels_.rotary_grad : kernels_.rotary, shape, x.As<float>(), cos.As<float>(),
              sin.As<float>(), y, context);
}

template <bool kGradient>
void RotaryOp<kGradient>::InferShapes(ShapeInference& shapes) {
  if (const auto shape = shapes.Input(0)) shapes.SetOutput(0, shapes.InputType(0), *shape);
}

template class RotaryOp<false>;
template class RotaryOp<true>;

}  // namespace ortqlora

#include "ops/rotary/rotary_cuda_op.h"

#include "common/shape_check.h"

namespace ortqlora::cuda {
namespace {

bool IsSequenceFirst(const KernelInfo& info) {
  const std::string layout = info.String("layout", "bhsd");
  if (layout != "bhsd" && layout != "bshd") {
    Fail("attribute layout is '", layout, "', expected 'bhsd' or 'bshd'.");
  }
  return layout == "bshd";
}

}  // namespace

template <Element kElement, bool kGradient>
RotaryOp<kElement, kGradient>::RotaryOp(const KernelInfo& info) : sequence_first_(IsSequenceFirst(info)) {
  const TensorInfo x = info.Input(0), cos = info.Input(1), sin = info.Input(2);
  CheckSameShape("sin", sin, "cos", cos);
  CheckShape(kGradient ? "dy" : "x", x, {-1, -1, -1, -1});
  if (x.fully_known() && cos.fully_known()) Check(x, cos, sin);
}

template <Element kElement, bool kGradient>
RotaryCall RotaryOp<kElement, kGradient>::Check(const TensorInfo& x, const TensorInfo& cos,
                                                const TensorInfo& sin) const {
  CheckSameShape("sin", sin, "cos", cos);
  CheckShape(kGradient ? "dy" : "x", x, {-1, -1, -1, -1});
  if (sin.type != cos.type)
    Fail("sin is ", ElementTypeName(sin.type), ", expected cos's ", ElementTypeName(cos.type), ".");
  RotaryCall call;
  call.element = kElement;
  call.angle_element = ElementOf("cos", cos);
  call.gradient = kGradient;
  call.sequence_first = sequence_first_;
  call.batch = x.shape[0];
  call.heads = x.shape[sequence_first_ ? 2 : 1];
  call.sequence = x.shape[sequence_first_ ? 1 : 2];
  call.size = x.shape[3];

  std::vector<int64_t> angles = cos.shape;
  // The axis of heads, wherever the table has it.
  for (ptrdiff_t axis : {1, 2}) {
    if (angles.size() == 4 && angles[static_cast<size_t>(axis)] == 1 &&
        angles[static_cast<size_t>(3 - axis)] == call.sequence) {
      angles.erase(angles.begin() + axis);
    }
  }
  if (angles.size() == 2) angles.insert(angles.begin(), 1);
  const bool fits = angles.size() == 3 && (angles[0] == 1 || angles[0] == call.batch) &&
                    angles[1] == call.sequence && angles[2] % 2 == 0 && angles[2] <= call.size;
  if (!fits) {
    Fail("cos and sin have the shape ", ShapeText(cos.shape), ", expected [", call.sequence, ", R] or [",
         call.batch, " or 1, ", call.sequence, ", R] with an even R of at most ", call.size, " for ",
         kGradient ? "dy " : "x ", ShapeText(x.shape), ".");
  }
  call.turned = angles[2];
  call.batched = angles[0] != 1;
  return call;
}

template <Element kElement, bool kGradient>
void RotaryOp<kElement, kGradient>::Compute(KernelContext& context) const {
  const TensorView x = context.Input(0), cos = context.Input(1), sin = context.Input(2);
  RotaryCall call = Check(x.info, cos.info, sin.info);
  call.x = x.data;
  call.cos = cos.data;
  call.sin = sin.data;
  call.y = context.Output(0, x.info.shape);
  LaunchRotary(call, static_cast<cudaStream_t>(context.Stream()));
}

template class RotaryOp<Element::kFloat, false>;
template class RotaryOp<Element::kFloat, true>;
template class RotaryOp<Element::kHalf, false>;
template class RotaryOp<Element::kHalf, true>;
template class RotaryOp<Element::kBfloat16, false>;
template class RotaryOp<Element::kBfloat16, true>;

}  // namespace ortqlora::cuda

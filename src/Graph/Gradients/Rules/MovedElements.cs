using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients.Rules;

/// <summary>
/// The gradient of any operator whose output elements are elements of its first input: the same operator, applied to
/// the elements' own positions, tells where each came from, and dy is added up there. Correct for every mode and for
/// repeated elements; it costs an int64 tensor as large as input and output, so rules use it only where no cheaper
/// form is certain.
/// </summary>
internal static class MovedElements
{
    /// <param name="c">The context.</param>
    /// <param name="repeat">Applies the operator to an int64 tensor of the first input's shape.</param>
    public static Value Build(GradientContext c, Func<Value, Value> repeat)
    {
        GraphBuilder b = c.Builder;
        Value x = c.Input(0);
        Value shape = c.ShapeOf(x);
        Value size = b.Op("ReduceProd", [shape], ("keepdims", 0));
        Value positions = b.Op("Reshape", [b.Op("Range", [b.Scalar(0L), size, b.Scalar(1L)]), shape], ("allowzero", 1));
        positions.Type = new OnnxType.Tensor(DataType.Int64, x.Shape);
        Value sources = b.Reshape(repeat(positions), -1);
        Value updates = b.Reshape(c.OutputGradient, -1);
        Value zeros = b.Op("ConstantOfShape", [b.Unsqueeze(size, 0)], ("value", Constants.Filled(x.ElementType, 0)));
        Value sum = b.Op("ScatterElements", [zeros, sources, updates], ("axis", 0), ("reduction", "add"));
        Value dx = b.Op("Reshape", [sum, shape], ("allowzero", 1));
        dx.Type = x.Type;
        return dx;
    }
}

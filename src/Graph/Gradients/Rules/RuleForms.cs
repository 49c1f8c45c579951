using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients.Rules;

/// <summary>Forms that many rules share.</summary>
internal static class RuleForms
{
    /// <summary>
    /// A rule of an operator y = f(x) that works element by element: <paramref name="derive"/> gives dy * f'(x). It must
    /// multiply dy by something of x's shape, since dy may come in a smaller shape that broadcasts.
    /// </summary>
    public static GradientRule Pointwise(Func<GraphBuilder, Value, Value, Value, Value> derive) =>
        c => c.Gradients(derive(c.Builder, c.BroadcastableOutputGradient, c.Input(0), c.Output(0)));

    /// <summary>A rule of an operator whose derivative by its first input is the identity.</summary>
    public static IReadOnlyList<Value?> PassThrough(GradientContext c) => c.Gradients(c.OutputGradient);

    /// <summary>A rule of an operator that only gives its first input another shape.</summary>
    public static IReadOnlyList<Value?> Reshaped(GradientContext c) => c.Gradients(c.ReshapeLike(c.OutputGradient, c.Input(0)));

    /// <summary><paramref name="x"/> + <paramref name="number"/>.</summary>
    public static Value Add(this GraphBuilder b, Value x, double number) => b.Add(x, b.ScalarLike(x, number));

    /// <summary><paramref name="number"/> - <paramref name="x"/>.</summary>
    public static Value Sub(this GraphBuilder b, double number, Value x) => b.Sub(b.ScalarLike(x, number), x);

    /// <summary>x * x.</summary>
    public static Value Square(this GraphBuilder b, Value x) => b.Mul(x, x);

    /// <summary>A unary operator without attributes.</summary>
    public static Value Unary(this GraphBuilder b, string opType, Value x) => b.Op(opType, [x]);

    /// <summary>A comparison.</summary>
    public static Value Compare(this GraphBuilder b, string opType, Value x, Value y) => b.Op(opType, [x, y]);

    /// <summary><c>mask ? x : 0</c>; unlike a product with the mask, NaN and infinities behind the mask vanish.</summary>
    public static Value KeepWhere(this GraphBuilder b, Value mask, Value x) => b.Where(mask, x, b.ScalarLike(x, 0));

    /// <summary><c>mask ? 0 : x</c>.</summary>
    public static Value DropWhere(this GraphBuilder b, Value mask, Value x) => b.Where(mask, b.ScalarLike(x, 0), x);
}

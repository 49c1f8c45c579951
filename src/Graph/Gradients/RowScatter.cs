using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients;

/// <summary>
/// Adds rows at indices that may repeat: the gradient of looking rows up.
/// </summary>
/// <remarks>
/// ScatterND with reduction 'add' would say it in one node, but ONNX Runtime's CPU kernel works on several rows at
/// once without locking, so that repeated indices lose updates (seen in 1.31 with 1024 rows of 512). Two forms that are right:
/// a product with one-hot rows where the table is short, else ScatterElements, which is sequential. Measured on two
/// cores the product costs about 0.01 ns, times the rows of the table, for each element added, and the scatter 12 ns.
/// </remarks>
internal static class RowScatter
{
    private const long LongestTableForProduct = 1024;

    /// <summary>Emits <paramref name="onto"/> (zeros if null) with rows added.</summary>
    public static Value Emit(GradientForms forms, Value? onto, Value like, Value rowCount, Value indices, Value updates)
    {
        GraphBuilder b = forms.Builder;
        bool isShort = ConstantContent.Int64s(rowCount) is [<= LongestTableForProduct];
        Value sum = isShort
            ? Product(forms, onto, rowCount, indices, updates)
            : Scatter(forms, onto, like, rowCount, indices, updates);
        sum.Type = new OnnxType.Tensor(like.ElementType, null);
        return forms.Shapes.ReshapeLike(sum, like);
    }

    // sum = one_hot(indices)^T updates + onto: [rows, n] x [n, elements].
    private static Value Product(GradientForms forms, Value? onto, Value rowCount, Value indices, Value updates)
    {
        GraphBuilder b = forms.Builder;
        Value bits = b.Constant(DenseTensor.Vector(0f, 1f));
        Value hot = b.Cast(b.Op("OneHot", [indices, b.Squeeze(rowCount, 0), bits]), updates.ElementType);
        return onto is null
            ? b.Op("Gemm", [hot, updates], ("transA", 1))
            : b.Op("Gemm", [hot, updates, AsRows(forms, onto, rowCount)], ("transA", 1));
    }

    private static Value Scatter(GradientForms forms, Value? onto, Value like, Value rowCount, Value indices, Value updates)
    {
        GraphBuilder b = forms.Builder;
        Value rows = AsRows(forms, onto ?? forms.ZerosLike(like), rowCount);
        Value everywhere = b.Expand(b.Unsqueeze(indices, 1), forms.Shapes.Of(updates));
        return b.Op("ScatterElements", [rows, everywhere, updates], ("axis", 0), ("reduction", "add"));
    }

    // [rows, elements of a row]; the number of elements is computed, since -1 has no answer in an empty tensor.
    private static Value AsRows(GradientForms forms, Value value, Value rowCount)
    {
        GraphBuilder b = forms.Builder;
        Value count = b.Op("ReduceProd", [forms.Shapes.Of(value)], ("keepdims", 1));
        Value perRow = b.Div(count, b.Op("Max", [rowCount, b.Int64s(1)]));
        return b.Op("Reshape", [value, b.Concat(0, rowCount, perRow)], ("allowzero", 1));
    }
}

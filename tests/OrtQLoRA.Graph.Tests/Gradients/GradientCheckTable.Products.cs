using OrtQLoRA.Graph.IR;
using OrtQLoRA.TestKit.Gradients;
using static OrtQLoRA.TestKit.Gradients.GradientInput;

namespace OrtQLoRA.Graph.Tests.Gradients;

internal static partial class GradientCheckTable
{
    private static IEnumerable<GradientRow> MatrixProducts()
    {
        yield return new("MatMul", "matrices", [Normal(3, 4), Normal(4, 5)]);
        yield return new("MatMul", "square of one matrix", [Normal(3, 3), Same(0)]);
        yield return new("MatMul", "weight", [Normal(2, 3, 4), Normal(4, 5)]);
        yield return new("MatMul", "constant weight", [Normal(2, 3, 4), Normal(4, 5).AsConstant().NotDifferentiated()]);
        yield return new("MatMul", "transposed weight", [Normal(2, 3, 4), Normal(4, 5)]) { Then = WithTransposedWeight };
        yield return new("MatMul", "batched", [Normal(2, 3, 4, 5), Normal(2, 3, 5, 2)]);
        yield return new("MatMul", "batch broadcast", [Normal(2, 3, 4, 5), Normal(3, 5, 2)]);
        yield return new("MatMul", "both batches broadcast", [Normal(2, 1, 4, 5), Normal(1, 3, 5, 2)]);
        yield return new("MatMul", "matrix times batch", [Normal(4, 5), Normal(3, 5, 2)]);
        yield return new("MatMul", "vector times matrix", [Normal(4), Normal(4, 5)]);
        yield return new("MatMul", "vector times batch", [Normal(4), Normal(3, 4, 5)]);
        yield return new("MatMul", "matrix times vector", [Normal(3, 4), Normal(4)]);
        yield return new("MatMul", "batch times vector", [Normal(2, 3, 4), Normal(4)]);
        yield return new("MatMul", "vectors", [Normal(4), Normal(4)]);
        yield return new("MatMul", "ones", [Normal(1, 1, 1), Normal(1, 1)]);
        yield return new("MatMul", "no rows", [Normal(0, 3, 4), Normal(4, 5)]);
        yield return new("MatMul", "scores", [Normal(2, 3, 4, 5), Normal(2, 3, 5, 4)]) { Then = Scores };
        foreach (long transA in new long[] { 0, 1 })
        {
            foreach (long transB in new long[] { 0, 1 })
            {
                yield return new(
                    "Gemm", $"transA {transA}, transB {transB}",
                    [transA == 0 ? Normal(3, 4) : Normal(4, 3), transB == 0 ? Normal(4, 5) : Normal(5, 4), Normal(5)],
                    ("transA", transA), ("transB", transB), ("alpha", 0.7f), ("beta", 1.3f));
            }
        }

        yield return new("Gemm", "no bias", [Normal(3, 4), Normal(4, 5)]);
        yield return new("Gemm", "scalar bias", [Normal(3, 4), Normal(4, 5), Normal()]);
        yield return new("Gemm", "column bias", [Normal(3, 4), Normal(4, 5), Normal(3, 1)]);
        yield return new("Gemm", "full bias", [Normal(3, 4), Normal(4, 5), Normal(3, 5)]);

        (string Equation, GradientInput[] Inputs)[] products =
        [
            ("ij,jk->ik", [Normal(3, 4), Normal(4, 5)]),
            ("bhid,bhjd->bhij", [Normal(2, 2, 3, 4), Normal(2, 2, 5, 4)]),
            ("ij->ji", [Normal(3, 4)]),
            ("ij->i", [Normal(3, 4)]),
            ("ij->", [Normal(3, 4)]),
            ("i,j->ij", [Normal(3), Normal(4)]),
            ("ij,ij->", [Normal(3, 4), Normal(3, 4)]),
            ("...ij,...jk->...ik", [Normal(2, 3, 4), Normal(2, 4, 5)]),
            ("...ij,jk->...ik", [Normal(2, 2, 3, 4), Normal(4, 5)]),
            ("ij,jk,kl->il", [Normal(2, 3), Normal(3, 4), Normal(4, 2)]),
            ("ij,jk", [Normal(3, 4), Normal(4, 5)]),
            ("ijk,ij->i", [Normal(2, 3, 4), Normal(2, 3)]),
        ];
        foreach ((string equation, GradientInput[] inputs) in products)
        {
            yield return new("Einsum", equation, inputs, ("equation", equation));
        }
    }

    // A weight kept as [out, in], as exports without constant folding have it.
    private static Value WithTransposedWeight(GraphBuilder b, Value product)
    {
        Value weight = b.Transpose(product.Producer!.InputOrNull(1)!, 1, 0);
        return b.MatMul(product, weight);
    }

    // As attention scores: a product with an operand whose last two axes are swapped, and one that is also split into heads.
    private static Value Scores(GraphBuilder b, Value product)
    {
        Value swapped = b.MatMul(product, b.Transpose(product, 0, 1, 3, 2));
        return b.MatMul(b.Transpose(swapped, 0, 2, 1, 3), b.Transpose(swapped, 0, 2, 3, 1));
    }

    private static IEnumerable<GradientRow> Softmaxes()
    {
        foreach (string op in new[] { "Softmax", "LogSoftmax" })
        {
            yield return new(op, "last axis", [Normal(2, 3, 4)]);
            yield return new(op, "middle axis", [Normal(2, 3, 4)], ("axis", 1L));
            yield return new(op, "first axis", [Normal(3, 2)], ("axis", 0L));
            yield return new(op, "one class", [Normal(3, 1)]);
            yield return new(op, "empty", [Normal(0, 3)]);
        }

        yield return new("Hardmax", "distinct", [Distinct(2, 3)]);
    }

    private static IEnumerable<GradientRow> Normalizations()
    {
        yield return new("LayerNormalization", "last axis", [Normal(2, 3, 5), Normal(5), Normal(5)]);
        yield return new("LayerNormalization", "no bias", [Normal(2, 3, 5), Normal(5)], ("epsilon", 1e-3f));
        yield return new("LayerNormalization", "two axes", [Normal(2, 3, 5), Normal(3, 5), Normal(3, 5)], ("axis", 1L));
        yield return new("LayerNormalization", "only x", [Normal(2, 5), Normal(5).NotDifferentiated(), Normal(5).NotDifferentiated()]);
        yield return new("LayerNormalization", "only scale", [Normal(2, 5).NotDifferentiated(), Normal(5), Normal(5).NotDifferentiated()]);
        yield return new("RMSNormalization", "last axis", [Normal(2, 3, 5), Normal(5)]) { Opset = 23 };
        yield return new("RMSNormalization", "two axes", [Normal(2, 3, 5), Normal(3, 5)], ("axis", 1L), ("epsilon", 1e-2f)) { Opset = 23 };
        yield return new("SimplifiedLayerNormalization", "last axis", [Normal(2, 3, 5), Normal(5)], ("axis", -1L));
        yield return new("InstanceNormalization", "two spatial axes", [Normal(2, 3, 4, 2), Normal(3), Normal(3)]);
        yield return new("InstanceNormalization", "one spatial axis", [Normal(2, 3, 4), Normal(3), Normal(3)], ("epsilon", 1e-2f));
        yield return new("GroupNormalization", "per channel", [Normal(2, 6, 3, 2), Normal(6), Normal(6)], ("num_groups", 3L)) { OtherOpsets = [24] };
        yield return new("GroupNormalization", "per group", [Normal(2, 6, 3, 2), Normal(3), Normal(3)], ("num_groups", 3L)) { Opset = 18 };
        yield return new("BatchNormalization", "two spatial axes", [Normal(2, 3, 4, 2), Normal(3), Normal(3), Normal(3), Between(0.5, 2, 3)]);
        yield return new("BatchNormalization", "no spatial axis", [Normal(4, 3), Normal(3), Normal(3), Normal(3), Between(0.5, 2, 3)], ("epsilon", 1e-2f));
    }

    private static IEnumerable<GradientRow> Losses()
    {
        foreach (string reduction in new[] { "mean", "sum", "none" })
        {
            yield return new("SoftmaxCrossEntropyLoss", $"{reduction}", [Normal(4, 3), Ints(0, 2, 1, 2)], ("reduction", reduction));
            yield return new("SoftmaxCrossEntropyLoss", $"{reduction}, weights, ignored, positions", [Normal(2, 3, 2), Ints([2, 2], 0, -100, 1, 2), Between(0.5, 2, 3).NotDifferentiated()], ("reduction", reduction), ("ignore_index", -100L));
            yield return new("NegativeLogLikelihoodLoss", $"{reduction}", [Normal(4, 3), Ints(0, 2, 1, 2)], ("reduction", reduction));
            yield return new("NegativeLogLikelihoodLoss", $"{reduction}, weights, ignored, positions", [Normal(2, 3, 2), Ints([2, 2], 0, 7, 1, 2), Between(0.5, 2, 3).NotDifferentiated()], ("reduction", reduction), ("ignore_index", 7L));
        }

        yield return new("SoftmaxCrossEntropyLoss", "both outputs", [Normal(4, 3), Ints(0, 2, 1, 2)]) { Outputs = 2 };
        yield return new("SoftmaxCrossEntropyLoss", "log probabilities only", [Normal(4, 3), Ints(0, 2, 1, 2)]) { Outputs = 2, UnusedOutputs = [0] };
    }
}

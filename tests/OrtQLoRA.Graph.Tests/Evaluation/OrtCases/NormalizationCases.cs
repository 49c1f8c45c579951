using OrtQLoRA.Graph.Evaluation;
using OrtQLoRA.Graph.IR;
using static OrtQLoRA.Graph.Tests.Evaluation.OrtCases.Draw;

namespace OrtQLoRA.Graph.Tests.Evaluation.OrtCases;

internal static class NormalizationCases
{
    public static IEnumerable<OrtCase> All() => [.. Softmaxes(), .. Losses(), .. LayerNorms(), .. ChannelNorms()];

    private static IEnumerable<OrtCase> Softmaxes()
    {
        foreach (string opType in new[] { "Softmax", "LogSoftmax", "Hardmax" })
        {
            yield return new(opType, [Floats([2, 3, 4])]);
            yield return new(opType, [Floats([2, 3, 4])], ("axis", 1));
            yield return new(opType, [Floats([5])], ("axis", 0));
            yield return new(opType, [Floats([2, 0, 4])]);
            yield return new(opType, [Floats([2, 3, 4])]) { Opset = 11 };
            yield return new(opType, [Floats([2, 3, 4])], ("axis", 2)) { Opset = 11 };
        }

        ReferenceTensor masked = NodeRunner.F([2, 3], double.NegativeInfinity, 1, 2, double.NegativeInfinity, double.NegativeInfinity, double.NegativeInfinity);
        yield return new("Softmax", [masked]) { Note = "masked" };
        yield return new("Softmax", [Floats([2, 3], 500, 900)]) { Note = "large" };
        yield return new("Softmax", [Floats(DataType.Double, [2, 3])]) { Tolerance = 1e-14 };
    }

    private static IEnumerable<OrtCase> Losses()
    {
        foreach (string reduction in new[] { "none", "sum", "mean" })
        {
            foreach (bool weighted in new[] { false, true })
            {
                ReferenceTensor? weight = weighted ? Floats([5], 0.5, 2, 3) : null;
                foreach ((long[] x, long[] target) in new[] { (new long[] { 4, 5 }, new long[] { 4 }), ([2, 5, 3], [2, 3]), ([2, 5, 2, 3], [2, 2, 3]) })
                {
                    ReferenceTensor scores = Floats(x);
                    ReferenceTensor labels = Int64(target, 0, 4);
                    yield return new("SoftmaxCrossEntropyLoss", [scores, labels, weight], ("reduction", reduction)) { Note = reduction };
                    yield return new("SoftmaxCrossEntropyLoss", [scores, labels, weight], ("reduction", reduction), ("ignore_index", 2)) { Outputs = 2, Note = reduction };
                    yield return new("NegativeLogLikelihoodLoss", [scores, labels, weight], ("reduction", reduction), ("ignore_index", 1)) { Note = reduction };
                }
            }
        }

        yield return new("SoftmaxCrossEntropyLoss", [Floats([3, 5]), Vector(1, -100, 4)], ("ignore_index", -100)) { Note = "outside" };
    }

    private static IEnumerable<OrtCase> LayerNorms()
    {
        ReferenceTensor x = Floats([2, 3, 4]);
        yield return new("LayerNormalization", [x, Floats([4], seed: 2), Floats([4], seed: 3)]) { Outputs = 3 };
        yield return new("LayerNormalization", [x, Floats([4], seed: 2)], ("epsilon", 1e-2f));
        yield return new("LayerNormalization", [x, Floats([3, 4], seed: 2), Floats([3, 4], seed: 3)], ("axis", 1)) { Outputs = 3 };
        yield return new("LayerNormalization", [Floats([0, 4]), Floats([4], seed: 2), Floats([4], seed: 3)]);
        yield return new("RMSNormalization", [x, Floats([4], seed: 2)]) { Opset = 23 };
        yield return new("RMSNormalization", [x, Floats([3, 4], seed: 2)], ("axis", -2), ("epsilon", 1e-2f)) { Opset = 23 };
        yield return new("SimplifiedLayerNormalization", [x, Floats([4], seed: 2)]) { Outputs = 2 };
        ReferenceTensor skip = Floats([2, 3, 4], seed: 4);
        ReferenceTensor gamma = Floats([4], seed: 2);
        yield return new("SkipSimplifiedLayerNormalization", [x, skip, gamma], ("epsilon", 1e-3f)) { Domain = "com.microsoft" };
        yield return new("SkipLayerNormalization", [x, skip, gamma, Floats([4], seed: 3), Floats([4], seed: 5)], ("epsilon", 1e-3f)) { Domain = "com.microsoft" };
        yield return new("SkipLayerNormalization", [x, skip, gamma], ("epsilon", 1e-12f)) { Domain = "com.microsoft" };
    }

    private static IEnumerable<OrtCase> ChannelNorms()
    {
        foreach (long[] dims in new long[][] { [2, 4, 5], [2, 4, 3, 2], [1, 4, 2, 2, 2] })
        {
            ReferenceTensor x = Floats(dims);
            yield return new("InstanceNormalization", [x, Floats([4], seed: 2), Floats([4], seed: 3)]);
            yield return new("GroupNormalization", [x, Floats([4], seed: 2), Floats([4], seed: 3)], ("num_groups", 2));
            yield return new("GroupNormalization", [x, Floats([2], seed: 2), Floats([2], seed: 3)], ("num_groups", 2)) { Opset = 18 };
            ReferenceTensor?[] parameters = [x, Floats([4], seed: 2), Floats([4], seed: 3), Floats([4], seed: 4), Floats([4], 0.5, 2, 5)];
            yield return new("BatchNormalization", parameters) { Tolerance = 1e-5 };
            yield return new("BatchNormalization", parameters, ("training_mode", 1), ("momentum", 0.7f)) { Outputs = 3, Tolerance = 1e-5 };
        }
    }
}

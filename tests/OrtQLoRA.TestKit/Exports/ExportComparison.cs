using System.Globalization;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.TestKit.Exports;

/// <summary>Compares a run of an exported model with PyTorch's results.</summary>
public static class ExportComparison
{
    /// <summary>
    /// What differs from case0 by more than allowed, one line each: outputs by relative L2 distance of 1e-4, the loss by
    /// 1e-4, gradients by relative L2 distance of 1e-3; five times that for float16 models.
    /// </summary>
    /// <remarks>
    /// Gradients whose norm is below 1e-6 of all gradients' are rounding (biases of key projections, which softmax does not
    /// see) and are held against the norm of all gradients. In a table of embeddings the row of the padding token is left out if
    /// PyTorch has zeros there: its padding_idx is no part of the exported graph.
    /// </remarks>
    public static IReadOnlyList<string> Differences(ExportGradientCase exported, ExportRun run)
    {
        double slack = exported.IsHalf ? 5 : 1;
        List<string> differences = [];
        foreach ((string name, ITensor expected) in exported.Outputs(0))
        {
            if (run.Outputs.TryGetValue(name, out ITensor? actual))
            {
                Check($"output '{name}'", Distance(expected, actual, null) / Norm(expected), slack * 1e-4);
            }
        }

        Check("loss", Math.Abs(run.Loss - exported.LossValue(0)!.Value), slack * 1e-4);
        double allGradients = Math.Sqrt(exported.Gradients.Values.Sum(g => Norm(g) * Norm(g)));
        foreach ((string name, ITensor expected) in exported.Gradients)
        {
            if (!run.Gradients.TryGetValue(name, out ITensor? actual))
            {
                differences.Add($"gradient '{name}' is missing");
                continue;
            }

            if (!actual.Dims.SequenceEqual(expected.Dims))
            {
                differences.Add($"gradient '{name}' has the shape [{string.Join(", ", actual.Dims)}] instead of [{string.Join(", ", expected.Dims)}]");
                continue;
            }

            double norm = Norm(expected);
            double distance = Distance(expected, actual, PaddingRow(exported, name, expected));
            Check($"gradient '{name}'", distance / (norm < 1e-6 * allGradients ? allGradients : norm), slack * 1e-3);
        }

        return differences;

        void Check(string what, double error, double tolerance)
        {
            if (!(error <= tolerance))
            {
                differences.Add(string.Create(CultureInfo.InvariantCulture, $"{what}: {error:E2} instead of at most {tolerance:E0}"));
            }
        }
    }

    private static Range? PaddingRow(ExportGradientCase exported, string name, ITensor expected)
    {
        if (exported.PaddingToken is not { } token || expected.Dims.Length != 2 || token >= expected.Dims[0]
            || !name.Contains("embed", StringComparison.Ordinal))
        {
            return null;
        }

        int width = (int)expected.Dims[1];
        Range row = new((int)token * width, (int)(token + 1) * width);
        return expected.ToFloats()[row].All(v => v == 0) ? row : null;
    }

    private static double Norm(ITensor tensor) => Math.Sqrt(tensor.ToFloats().Sum(v => (double)v * v));

    private static double Distance(ITensor expected, ITensor actual, Range? leftOut)
    {
        if (expected.ElementCount() != actual.ElementCount())
        {
            return double.PositiveInfinity;
        }

        float[] wanted = expected.ToFloats();
        float[] given = actual.ToFloats();
        if (leftOut is { } range)
        {
            given.AsSpan(range).Clear();
        }

        return Math.Sqrt(wanted.Zip(given, (e, a) => ((double)e - a) * ((double)e - a)).Sum());
    }
}

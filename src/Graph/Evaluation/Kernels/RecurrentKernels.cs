namespace OrtQLoRA.Graph.Evaluation.Kernels;

/// <summary>Recurrent layers in the layout with the sequence first, cell by cell as the operators' formulas say.</summary>
internal static class RecurrentKernels
{
    private delegate void Cell(KernelContext c, double[] fromInput, double[] hidden, double[] cell, Func<int, double[], double> hiddenSum);

    public static void Register(KernelRegistry registry)
    {
        registry.AddMany("LSTM", c => Run(c, 4, Lstm));
        registry.AddMany("GRU", c => Run(c, 3, Gru));
        registry.AddMany("RNN", c => Run(c, 1, Rnn));
    }

    private static ReferenceTensor?[] Run(KernelContext c, int gates, Cell step)
    {
        if (c.GetInt("layout", 0) != 0 || c.InputOrNull(4) is not null || c.InputOrNull(7) is not null || c.Attribute("clip") is not null)
        {
            throw c.Unsupported("only the layout with the sequence first is known, without lengths of rows, peepholes and clip");
        }

        (ReferenceTensor x, ReferenceTensor w, ReferenceTensor r) = (c.Input(0), c.Input(1), c.Input(2));
        (int steps, int batch, int width) = ((int)x.Dims[0], (int)x.Dims[1], (int)x.Dims[2]);
        (int directions, int hidden) = ((int)r.Dims[0], (int)r.Dims[2]);
        int rows = gates * hidden;
        double[] y = new double[steps * directions * batch * hidden];
        double[] lastHidden = new double[directions * batch * hidden];
        double[] lastCell = new double[directions * batch * hidden];
        for (int d = 0; d < directions; d++)
        {
            bool isReversed = d == 1 || c.GetString("direction", "forward") == "reverse";
            for (int b = 0; b < batch; b++)
            {
                int state = ((d * batch) + b) * hidden;
                double[] h = Initial(c, 5, state, hidden);
                double[] cell = Initial(c, 6, state, hidden);
                for (int s = 0; s < steps; s++)
                {
                    int t = isReversed ? steps - 1 - s : s;
                    double[] fromInput = [.. Enumerable.Range(0, rows).Select(g => BiasOf(c, d, g, rows, 0)
                        + Dot(x, ((t * batch) + b) * width, w, ((d * rows) + g) * width, width))];
                    int direction = d;
                    step(c, fromInput, h, cell, (g, operand) => BiasOf(c, direction, g, rows, 1) + Dot(operand, r, ((direction * rows) + g) * hidden));
                    h.CopyTo(y, (((t * directions) + d) * batch * hidden) + (b * hidden));
                }

                h.CopyTo(lastHidden, state);
                cell.CopyTo(lastCell, state);
            }
        }

        long[] last = [directions, batch, hidden];
        return
        [
            ReferenceTensor.OfFloats(x.ElementType, [steps, .. last], y), ReferenceTensor.OfFloats(x.ElementType, last, lastHidden),
            gates == 4 ? ReferenceTensor.OfFloats(x.ElementType, last, lastCell) : null,
        ];
    }

    private static void Lstm(KernelContext c, double[] fromInput, double[] hidden, double[] cell, Func<int, double[], double> hiddenSum)
    {
        int n = hidden.Length;
        double[] before = [.. hidden];
        for (int j = 0; j < n; j++)
        {
            double Sum(int gate) => fromInput[(gate * n) + j] + hiddenSum((gate * n) + j, before);
            cell[j] = (Sigmoid(Sum(2)) * cell[j]) + (Sigmoid(Sum(0)) * Math.Tanh(Sum(3)));
            hidden[j] = Sigmoid(Sum(1)) * Math.Tanh(cell[j]);
        }
    }

    private static void Gru(KernelContext c, double[] fromInput, double[] hidden, double[] cell, Func<int, double[], double> hiddenSum)
    {
        int n = hidden.Length;
        double[] before = [.. hidden];
        double Gate(int gate, int j) => Sigmoid(fromInput[(gate * n) + j] + hiddenSum((gate * n) + j, before));
        double[] reset = [.. Enumerable.Range(0, n).Select(j => Gate(1, j))];
        double[] resetState = [.. reset.Zip(before, (r, h) => r * h)];
        for (int j = 0; j < n; j++)
        {
            double sum = c.GetInt("linear_before_reset", 0) != 0
                ? reset[j] * hiddenSum((2 * n) + j, before)
                : hiddenSum((2 * n) + j, resetState);
            double update = Gate(0, j);
            hidden[j] = ((1 - update) * Math.Tanh(fromInput[(2 * n) + j] + sum)) + (update * before[j]);
        }
    }

    private static void Rnn(KernelContext c, double[] fromInput, double[] hidden, double[] cell, Func<int, double[], double> hiddenSum)
    {
        double[] before = [.. hidden];
        bool isRectified = c.Attribute("activations")?.AsStrings() is [var first, ..] && first.Span.SequenceEqual("Relu"u8);
        for (int j = 0; j < hidden.Length; j++)
        {
            double sum = fromInput[j] + hiddenSum(j, before);
            hidden[j] = isRectified ? Math.Max(sum, 0) : Math.Tanh(sum);
        }
    }

    private static double[] Initial(KernelContext c, int input, int offset, int hidden) =>
        c.InputOrNull(input) is { } given ? given.Floats[offset..(offset + hidden)].ToArray() : new double[hidden];

    // B holds the biases of the sums over the input, then those of the sums over the hidden state.
    private static double BiasOf(KernelContext c, int direction, int gate, int rows, int part) =>
        c.InputOrNull(3)?.Floats[(((2 * direction) + part) * rows) + gate] ?? 0;

    private static double Dot(ReferenceTensor a, int aOffset, ReferenceTensor b, int bOffset, int count) =>
        Enumerable.Range(0, count).Sum(i => a.Floats[aOffset + i] * b.Floats[bOffset + i]);

    private static double Dot(double[] a, ReferenceTensor b, int bOffset) => Enumerable.Range(0, a.Length).Sum(i => a[i] * b.Floats[bOffset + i]);

    private static double Sigmoid(double x) => 1 / (1 + Math.Exp(-x));
}

using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Evaluation.Kernels;

/// <summary>Fourier transforms, by their definition.</summary>
internal static class SpectralKernels
{
    private const long FirstOpsetWithAxisInput = 20;

    public static void Register(KernelRegistry registry) => registry.Add("DFT", Dft);

    // y_k = sum over j of x_j exp(-2 pi i j k / N); the inverse has the other sign and divides by N.
    private static ReferenceTensor Dft(KernelContext c)
    {
        ReferenceTensor x = c.Input(0);
        long stated = c.Opset < FirstOpsetWithAxisInput ? c.GetInt("axis", 1) : c.InputOrNull(2)?.ToInteger() ?? -2;
        int axis = c.Axis(stated, x.Rank);
        long parts = x.Dims[^1];
        if (axis == x.Rank - 1 || parts is not (1 or 2))
        {
            throw c.Error($"{x} holds no real or complex numbers along its last axis, or the transform runs along it");
        }

        long length = c.InputOrNull(1)?.ToInteger() ?? x.Dims[axis];
        bool isInverse = c.GetInt("inverse", 0) != 0;
        long rows = c.GetInt("onesided", 0) != 0 ? (length / 2) + 1 : length;
        long inner = 1;
        for (int i = axis + 1; i < x.Rank - 1; i++)
        {
            inner *= x.Dims[i];
        }

        long own = x.Dims[axis];
        long outer = x.Count == 0 ? 0 : x.Count / (own * inner * parts);
        double[] result = new double[outer * rows * inner * 2];
        double sign = isInverse ? 2 * Math.PI / length : -2 * Math.PI / length;
        for (long o = 0; o < outer; o++)
        {
            for (long i = 0; i < inner; i++)
            {
                for (long k = 0; k < rows; k++)
                {
                    (double real, double imaginary) = (0, 0);
                    for (long j = 0; j < Math.Min(own, length); j++)
                    {
                        long at = ((((o * own) + j) * inner) + i) * parts;
                        double a = x.Floats[(int)at];
                        double b = parts == 2 ? x.Floats[(int)at + 1] : 0;
                        (double sin, double cos) = Math.SinCos(sign * (j * k % length));
                        real += (a * cos) - (b * sin);
                        imaginary += (a * sin) + (b * cos);
                    }

                    long to = ((((o * rows) + k) * inner) + i) * 2;
                    result[to] = isInverse ? real / length : real;
                    result[to + 1] = isInverse ? imaginary / length : imaginary;
                }
            }
        }

        return ReferenceTensor.OfFloats(x.ElementType, x.Dims.SetItem(axis, rows).SetItem(x.Rank - 1, 2), result);
    }
}

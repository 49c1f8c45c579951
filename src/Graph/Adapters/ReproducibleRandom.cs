using System.IO.Hashing;
using System.Text;

namespace OrtQLoRA.Graph.Adapters;

/// <summary>
/// Random numbers that are the same on every machine: uniform ones from .NET's seeded generator, whose algorithm is fixed,
/// and Gaussian ones computed with nothing but additions, multiplications, divisions and square roots, which IEEE 754
/// fixes to the last bit (a library's logarithm may differ).
/// </summary>
public sealed class ReproducibleRandom
{
    private readonly Random _uniform;

    /// <summary>Creates a generator.</summary>
    /// <param name="seed">Seed of the run.</param>
    /// <param name="purpose">What the numbers are for, for example a parameter's name; each purpose has its own sequence, whatever the order of use.</param>
    public ReproducibleRandom(int seed, string purpose)
    {
        _uniform = new Random((int)XxHash3.HashToUInt64(Encoding.UTF8.GetBytes(purpose), seed));
    }

    /// <summary>A number from 0 (included) to 1 (excluded).</summary>
    public double NextUniform() => _uniform.NextDouble();

    /// <summary>A number from the standard normal distribution: the inverse of its cumulative distribution at a uniform number.</summary>
    public double NextGaussian()
    {
        // The middle of one of 2^52 equal parts, so that neither 0 nor 1 can come up.
        double p = ((_uniform.NextInt64(1L << 52)) + 0.5) / (1L << 52);
        return InverseNormal(p);
    }

    /// <summary>Fills with uniform numbers from <c>-bound</c> to <c>bound</c>.</summary>
    public void FillUniform(Span<float> values, double bound)
    {
        for (int i = 0; i < values.Length; i++)
        {
            values[i] = (float)(((2 * NextUniform()) - 1) * bound);
        }
    }

    /// <summary>Fills with Gaussian numbers of mean 0.</summary>
    public void FillGaussian(Span<float> values, double standardDeviation)
    {
        for (int i = 0; i < values.Length; i++)
        {
            values[i] = (float)(NextGaussian() * standardDeviation);
        }
    }

    // M. J. Wichura, Algorithm AS 241 (PPND7), Applied Statistics 37 (1988): about 7 digits, enough for float.
    internal static double InverseNormal(double p)
    {
        double q = p - 0.5;
        if (Math.Abs(q) <= 0.425)
        {
            double r = 0.180625 - (q * q);
            return q * ((((((59.10937472 * r) + 159.29113202) * r) + 50.434271938) * r) + 3.3871327179)
                / ((((((67.187563600 * r) + 78.757757664) * r) + 17.895169469) * r) + 1.0);
        }

        double tail = Math.Sqrt(-Log(q < 0 ? p : 1 - p));
        double value;
        if (tail <= 5)
        {
            double r = tail - 1.6;
            value = ((((((0.17023821103 * r) + 1.3067284816) * r) + 2.7568153900) * r) + 1.4234372777)
                / ((((0.12021132975 * r) + 0.73700164250) * r) + 1.0);
        }
        else
        {
            double r = tail - 5;
            value = ((((((0.017337203997 * r) + 0.42868294337) * r) + 3.0812263860) * r) + 6.6579051150)
                / ((((0.012258202635 * r) + 0.24197894225) * r) + 1.0);
        }

        return q < 0 ? -value : value;
    }

    // x = m 2^e with m in [sqrt(1/2), sqrt(2)); log m = 2 atanh(s), s = (m - 1)/(m + 1), |s| < 0.172: 12 terms give double precision.
    private static double Log(double x)
    {
        int exponent = (int)((BitConverter.DoubleToUInt64Bits(x) >> 52) & 0x7FF) - 1023;
        double m = BitConverter.UInt64BitsToDouble((BitConverter.DoubleToUInt64Bits(x) & 0x000FFFFFFFFFFFFF) | 0x3FF0000000000000);
        if (m > 1.4142135623730951)
        {
            m /= 2;
            exponent++;
        }

        double s = (m - 1) / (m + 1);
        double square = s * s;
        double sum = 0;
        for (int term = 23; term >= 1; term -= 2)
        {
            sum = (sum * square) + (1.0 / term);
        }

        return (2 * s * sum) + (exponent * 0.69314718055994531);
    }
}

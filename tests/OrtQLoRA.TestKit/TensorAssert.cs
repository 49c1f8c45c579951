using System.Globalization;
using System.Numerics;
using System.Text;
using Microsoft.VisualStudio.TestTools.UnitTesting;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.TestKit;

/// <summary>Compares tensors and, where they differ, says how much, where and how often.</summary>
public static class TensorAssert
{
    private const int Shown = 8;

    /// <summary>
    /// <c>|actual - expected| / |expected|</c> in the Euclidean norm, summed in double. Where the expected norm
    /// is 0 the result is 0 if both are equal, else infinite. Not-a-number at the same place on both sides is equal.
    /// </summary>
    public static double RelativeL2<T>(ReadOnlySpan<T> expected, ReadOnlySpan<T> actual)
        where T : struct, INumber<T>
    {
        Assert.AreEqual(expected.Length, actual.Length, "element counts");
        double difference = 0;
        double norm = 0;
        for (int i = 0; i < expected.Length; i++)
        {
            double e = double.CreateSaturating(expected[i]);
            double d = Difference(e, double.CreateSaturating(actual[i]));
            difference += d * d;
            norm += double.IsFinite(e) ? e * e : 0;
        }

        return difference == 0 ? 0 : norm == 0 ? double.PositiveInfinity : Math.Sqrt(difference / norm);
    }

    /// <summary>The largest <c>|actual - expected|</c>.</summary>
    public static double MaxAbsolute<T>(ReadOnlySpan<T> expected, ReadOnlySpan<T> actual)
        where T : struct, INumber<T>
    {
        Assert.AreEqual(expected.Length, actual.Length, "element counts");
        double worst = 0;
        for (int i = 0; i < expected.Length; i++)
        {
            worst = Math.Max(worst, Difference(double.CreateSaturating(expected[i]), double.CreateSaturating(actual[i])));
        }

        return worst;
    }

    /// <summary>Fails unless the relative L2 difference is at most <paramref name="relativeL2"/>.</summary>
    /// <param name="expected">Reference.</param>
    /// <param name="actual">Result under test.</param>
    /// <param name="relativeL2">Bound on <see cref="RelativeL2{T}"/>.</param>
    /// <param name="name">What is compared, for the message.</param>
    /// <param name="absolute">A maximal absolute difference that passes whatever the relative one is; for tensors near zero.</param>
    public static void AreClose<T>(ReadOnlySpan<T> expected, ReadOnlySpan<T> actual, double relativeL2, string name = "tensor", double absolute = 0)
        where T : struct, INumber<T>
    {
        if (expected.Length != actual.Length)
        {
            Assert.Fail($"{name}: {expected.Length} elements expected, {actual.Length} found.");
        }

        double relative = RelativeL2(expected, actual);
        double largest = MaxAbsolute(expected, actual);
        if (!(relative <= relativeL2) && !(largest <= absolute))
        {
            Assert.Fail(Report(expected, actual, name, [], string.Create(
                CultureInfo.InvariantCulture, $"relative L2 {relative:g4} exceeds {relativeL2:g4}; largest difference {largest:g4}")));
        }
    }

    /// <inheritdoc cref="AreClose{T}(ReadOnlySpan{T}, ReadOnlySpan{T}, double, string, double)"/>
    public static void AreClose<T>(T[] expected, T[] actual, double relativeL2, string name = "tensor", double absolute = 0)
        where T : struct, INumber<T> =>
        AreClose((ReadOnlySpan<T>)expected, (ReadOnlySpan<T>)actual, relativeL2, name, absolute);

    /// <summary>
    /// Fails unless both floating-point tensors have one shape and the relative L2 difference is within bounds.
    /// Element types may differ.
    /// </summary>
    public static void AreClose(ITensor expected, ITensor actual, double relativeL2, string name = "tensor", double absolute = 0)
    {
        AreSameShape(expected, actual, name);
        float[] e = expected.ToFloats();
        float[] a = actual.ToFloats();
        if (!(RelativeL2<float>(e, a) <= relativeL2) && !(MaxAbsolute<float>(e, a) <= absolute))
        {
            Assert.Fail(Report<float>(e, a, name, [.. expected.Dims], string.Create(
                CultureInfo.InvariantCulture, $"relative L2 {RelativeL2<float>(e, a):g4} exceeds {relativeL2:g4}; largest difference {MaxAbsolute<float>(e, a):g4}")));
        }
    }

    /// <summary>Fails unless element type, shape and every byte (for strings: every string) agree.</summary>
    public static void AreEqual(ITensor expected, ITensor actual, string name = "tensor")
    {
        Assert.AreEqual(expected.ElementType, actual.ElementType, $"{name}: element type");
        AreSameShape(expected, actual, name);
        if (expected is StringTensor strings)
        {
            StringTensor others = (StringTensor)actual;
            for (int i = 0; i < strings.Values.Length; i++)
            {
                Assert.IsTrue(
                    strings.Values[i].Span.SequenceEqual(others.Values[i].Span),
                    $"{name}: string {i} is '{Encoding.UTF8.GetString(others.Values[i].Span)}', expected '{Encoding.UTF8.GetString(strings.Values[i].Span)}'.");
            }

            return;
        }

        Assert.AreEqual(expected.ByteLength, actual.ByteLength, $"{name}: byte length");
        CompareBytes(expected, actual, name);
    }

    private static void CompareBytes(ITensor expected, ITensor actual, string name)
    {
        byte[] e = new byte[(int)Math.Min(expected.ByteLength, 1 << 20)];
        byte[] a = new byte[e.Length];
        for (long offset = 0; offset < expected.ByteLength; offset += e.Length)
        {
            int count = (int)Math.Min(e.Length, expected.ByteLength - offset);
            expected.Read(offset, e.AsSpan(0, count));
            actual.Read(offset, a.AsSpan(0, count));
            int same = e.AsSpan(0, count).CommonPrefixLength(a.AsSpan(0, count));
            if (same < count)
            {
                int different = Enumerable.Range(0, count).Count(i => e[i] != a[i]);
                Assert.Fail($"{name}: byte {offset + same} is 0x{a[same]:x2}, expected 0x{e[same]:x2}; {different} of these {count} bytes differ.");
            }
        }
    }

    private static void AreSameShape(ITensor expected, ITensor actual, string name)
    {
        if (!expected.Dims.AsSpan().SequenceEqual(actual.Dims.AsSpan()))
        {
            Assert.Fail($"{name}: shape [{string.Join(", ", actual.Dims)}], expected [{string.Join(", ", expected.Dims)}].");
        }
    }

    private static double Difference(double expected, double actual) =>
        expected.Equals(actual) ? 0 : double.IsNaN(expected - actual) ? double.PositiveInfinity : Math.Abs(expected - actual);

    private static string Report<T>(ReadOnlySpan<T> expected, ReadOnlySpan<T> actual, string name, long[] dims, string summary)
        where T : struct, INumber<T>
    {
        double[] differences = new double[expected.Length];
        for (int i = 0; i < expected.Length; i++)
        {
            differences[i] = Difference(double.CreateSaturating(expected[i]), double.CreateSaturating(actual[i]));
        }

        int[] worst = [.. Enumerable.Range(0, expected.Length).OrderByDescending(i => differences[i]).Take(Shown)];
        StringBuilder text = new();
        text.Append(CultureInfo.InvariantCulture, $"{name}: {summary}; {differences.Count(d => d > 0)} of {expected.Length} elements differ. Worst:");
        foreach (int i in worst)
        {
            text.Append(CultureInfo.InvariantCulture, $"\n  {Place(i, dims)}: {actual[i]}, expected {expected[i]} (difference {differences[i]:g4})");
        }

        return text.ToString();
    }

    private static string Place(int index, long[] dims)
    {
        if (dims.Length == 0)
        {
            return $"[{index}]";
        }

        long[] place = new long[dims.Length];
        long rest = index;
        for (int axis = dims.Length - 1; axis >= 0; axis--)
        {
            (rest, place[axis]) = Math.DivRem(rest, dims[axis]);
        }

        return $"[{string.Join(", ", place)}]";
    }
}

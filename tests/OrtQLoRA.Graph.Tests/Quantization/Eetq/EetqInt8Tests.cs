using FsCheck;
using FsCheck.Fluent;
using OrtQLoRA.Graph.Quantization.Eetq;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Quantization.Eetq;

[TestClass]
public sealed class EetqInt8Tests
{
    [TestMethod]
    public void Quantize_ReferenceVectorsInFp32_AreBitExact()
    {
        foreach (EetqFixture fixture in EetqFixture.All())
        {
            (sbyte[] q, float[] scales) = Quantize(fixture.Weights, fixture.N);

            CollectionAssert.AreEqual(fixture.Read<sbyte>("q.i8"), q, fixture.Name);
            CollectionAssert.AreEqual(Bits(fixture.Read<float>("scale.f32")), Bits(scales), fixture.Name);
            CollectionAssert.AreEqual(fixture.Read<ushort>("scale.f16"), HalfBits(scales), fixture.Name);
        }
    }

    [TestMethod]
    public void Quantize_ReferenceVectorsInFp16_AreBitExact()
    {
        foreach (EetqFixture fixture in EetqFixture.All())
        {
            float[] rounded = Array.ConvertAll(fixture.Weights, w => (float)(Half)w);
            (sbyte[] q, float[] scales) = Quantize(rounded, fixture.N);

            CollectionAssert.AreEqual(fixture.Read<sbyte>("fp16in.q.i8"), q, fixture.Name);
            CollectionAssert.AreEqual(fixture.Read<ushort>("fp16in.scale.f16"), HalfBits(scales), fixture.Name);
        }
    }

    [TestMethod]
    public void Dequantize_ReferenceProducts_AreReproduced()
    {
        foreach (EetqFixture fixture in EetqFixture.All())
        {
            float[] weights = new float[fixture.K * fixture.N];
            EetqInt8.Dequantize(fixture.Read<sbyte>("fp16in.q.i8"), fixture.Read<Half>("fp16in.scale.f16"), weights);
            float[] rounded = Array.ConvertAll(weights, w => (float)(Half)w);

            float[] y = Product(Array.ConvertAll(fixture.Read<Half>("x.f16"), v => (float)v), rounded, fixture.M, fixture.K, fixture.N);

            TensorAssert.AreClose(fixture.Read<float>("y.f32"), y, 1e-6, fixture.Name);
        }
    }

    [TestMethod]
    [DataRow(0.5f, 1)]
    [DataRow(-0.5f, -1)]
    [DataRow(2.5f, 3)]
    [DataRow(-2.5f, -3)]
    [DataRow(0.49999997f, 0)]
    [DataRow(126.5f, 127)]
    public void Quantize_HalfwayValues_RoundAwayFromZero(float value, int expected)
    {
        // A column peak of -128 makes the scale 1; 70 rows exercise the vectorised and the scalar part.
        for (int rows = 2; rows < 70; rows += 17)
        {
            float[] column = [-128f, .. Enumerable.Repeat(value, rows - 1)];
            (sbyte[] q, float[] scales) = Quantize(column, 1);
            sbyte[] channel = new sbyte[rows];
            EetqInt8.QuantizeChannel(column, scales[0], channel);

            Assert.AreEqual(1f, scales[0]);
            Assert.AreEqual(-128, q[0]);
            Assert.IsTrue(q.Skip(1).All(v => v == expected), $"{value} became {q[1]} in {rows} rows.");
            CollectionAssert.AreEqual(q, channel);
        }
    }

    [TestMethod]
    public void Quantize_AnyMatrix_ErrsByLessThanAStep()
    {
        Prop.ForAll(Gen.Choose(1, 97).Two().ToArbitrary(), size =>
        {
            (int rows, int columns) = size;
            Random random = new(rows * 1000 + columns);
            float[] weights = new float[rows * columns];
            for (int i = 0; i < weights.Length; i++)
            {
                weights[i] = (float)((random.NextDouble() * 2) - 1) * MathF.Pow(10, (i % columns % 5) - 2);
            }

            (sbyte[] q, float[] scales) = Quantize(weights, columns);
            for (int i = 0; i < weights.Length; i++)
            {
                // Half a step, or a whole one where the positive peak is clipped from 128 to 127; the quotient itself is rounded.
                double bound = scales[i % columns] * ((q[i] == 127 ? 1 : 0.5) + 1e-5);
                if (Math.Abs(weights[i] - ((double)q[i] * scales[i % columns])) > bound)
                {
                    return false;
                }
            }

            return true;
        }).QuickCheckThrowOnFailure();
    }

    [TestMethod]
    public void Quantize_ColumnOfZeros_DequantizesToZero()
    {
        (sbyte[] q, float[] scales) = Quantize(new float[40], 2);

        float[] back = new float[40];
        EetqInt8.Dequantize(q, Array.ConvertAll(scales, s => (Half)s), back);

        Assert.IsTrue(q.All(v => v == 127), "EETQ writes 127 where the scale is zero.");
        Assert.IsTrue(back.All(v => v == 0));
    }

    internal static (sbyte[] Quantized, float[] Scales) Quantize(float[] weights, int columns)
    {
        sbyte[] quantized = new sbyte[weights.Length];
        float[] scales = new float[columns];
        EetqInt8.Quantize(weights, columns, quantized, scales);
        return (quantized, scales);
    }

    private static int[] Bits(float[] values) => Array.ConvertAll(values, BitConverter.SingleToInt32Bits);

    private static ushort[] HalfBits(float[] values) => Array.ConvertAll(values, v => BitConverter.HalfToUInt16Bits((Half)v));

    private static float[] Product(float[] x, float[] w, int m, int k, int n)
    {
        float[] y = new float[m * n];
        for (int i = 0; i < m; i++)
        {
            for (int j = 0; j < n; j++)
            {
                double sum = 0;
                for (int l = 0; l < k; l++)
                {
                    sum += (double)x[(i * k) + l] * w[(l * n) + j];
                }

                y[(i * n) + j] = (float)sum;
            }
        }

        return y;
    }
}

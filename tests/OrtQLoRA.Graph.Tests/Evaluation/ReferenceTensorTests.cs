using System.Text;
using OrtQLoRA.Graph.Evaluation;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Evaluation;

[TestClass]
public sealed class ReferenceTensorTests
{
    [TestMethod]
    public void From_EveryByteOfEveryType_SurvivesTheRoundTrip()
    {
        DataType[] types =
        [
            DataType.Float, DataType.Double, DataType.Float16, DataType.BFloat16, DataType.Int8, DataType.UInt8, DataType.Int16, DataType.UInt16,
            DataType.Int32, DataType.UInt32, DataType.Int64, DataType.UInt64, DataType.Int4, DataType.UInt4, DataType.Int2, DataType.UInt2,
        ];
        Random random = new(5);
        foreach (DataType type in types)
        {
            byte[] bytes = new byte[64];
            random.NextBytes(bytes);
            for (int i = 1; i < bytes.Length && type.IsFloatingPoint(); i += 2)
            {
                // Keep clear of NaN, whose payload need not survive.
                bytes[i] &= 0xBF;
            }

            DenseTensor tensor = new(type, [bytes.Length * 8 / type.BitWidth()], bytes);
            TensorAssert.AreEqual(tensor, ReferenceTensor.From(tensor).ToTensor(), type.OnnxName());
        }
    }

    [TestMethod]
    public void From_OddCountOfHalfBytes_KeepsSigns()
    {
        ReferenceTensor tensor = ReferenceTensor.From(new DenseTensor(DataType.Int4, [3], new byte[] { 0x8F, 0x07 }));
        CollectionAssert.AreEqual(new long[] { -1, -8, 7 }, tensor.Integers);
    }

    [TestMethod]
    public void From_Strings_SurviveTheRoundTrip()
    {
        StringTensor tensor = new([2], [Encoding.UTF8.GetBytes("a"), Encoding.UTF8.GetBytes("")]);
        TensorAssert.AreEqual(tensor, ReferenceTensor.From(tensor).ToTensor());
    }

    [TestMethod]
    public void From_EightBitFloat_IsNamedError()
    {
        DenseTensor tensor = new(DataType.Float8E4M3FN, [1], new byte[1]);
        StringAssert.Contains(Assert.ThrowsExactly<GraphException>(() => ReferenceTensor.From(tensor)).Message, "float8e4m3fn");
    }

    [TestMethod]
    [DataRow(DataType.Float, 16777217.0, 16777216.0)]
    [DataRow(DataType.Float16, 2049.0, 2048.0)]
    [DataRow(DataType.Float16, 65520.0, double.PositiveInfinity)]
    [DataRow(DataType.Float16, 1e-8, 0.0)]
    [DataRow(DataType.BFloat16, 257.0, 256.0)]
    [DataRow(DataType.BFloat16, 259.0, 260.0)]
    [DataRow(DataType.BFloat16, 3.4e38, double.PositiveInfinity)]
    [DataRow(DataType.Double, 0.1, 0.1)]
    public void ToTensor_ValueBetweenTwo_RoundsToNearestEven(DataType type, double value, double expected) =>
        Assert.AreEqual(expected, ReferenceTensor.From(ReferenceTensor.OfFloats(type, [], value).ToTensor()).ToScalar());

    [TestMethod]
    public void ToTensor_NotANumber_StaysOneInEveryType()
    {
        foreach (DataType type in new[] { DataType.Float, DataType.Double, DataType.Float16, DataType.BFloat16 })
        {
            Assert.IsTrue(double.IsNaN(ReferenceTensor.From(ReferenceTensor.OfFloats(type, [], double.NaN).ToTensor()).ToScalar()));
        }
    }

    [TestMethod]
    public void OfFloats_WrongCount_IsRefused() =>
        StringAssert.Contains(Assert.ThrowsExactly<ArgumentException>(() => ReferenceTensor.OfDoubles([2, 2], 1, 2, 3)).Message, "4 elements, not 3");

    [TestMethod]
    public void Floats_OfIntegers_IsNamedError() =>
        StringAssert.Contains(Assert.ThrowsExactly<GraphException>(() => _ = NodeRunner.I([1], 1).Floats).Message, "int64[1]");

    [TestMethod]
    [DataRow(new long[] { 1L << 40, 1L << 40, 1L << 40 })]
    [DataRow(new long[] { 2, -1 })]
    public void Count_ImpossibleShape_IsRefusedBeforeAllocation(long[] dims) => Assert.ThrowsExactly<GraphException>(() => Indexing.Count(dims));

    [TestMethod]
    public void Count_HugeButEmptyShape_IsZero() => Assert.AreEqual(0, Indexing.Count([1L << 40, 0, 1L << 40]));
}

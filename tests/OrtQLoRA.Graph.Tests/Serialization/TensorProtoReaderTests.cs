using System.Text;
using Google.Protobuf;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Serialization.Protos;

namespace OrtQLoRA.Graph.Tests.Serialization;

/// <summary>Where the elements of a tensor message may lie, and what is refused.</summary>
[TestClass]
public sealed class TensorProtoReaderTests
{
    [TestMethod]
    [DataRow(DataType.Float, 4)]
    [DataRow(DataType.UInt8, 1)]
    [DataRow(DataType.Int8, 1)]
    [DataRow(DataType.UInt16, 2)]
    [DataRow(DataType.Int16, 2)]
    [DataRow(DataType.Int32, 4)]
    [DataRow(DataType.Int64, 8)]
    [DataRow(DataType.Bool, 1)]
    [DataRow(DataType.Float16, 2)]
    [DataRow(DataType.Double, 8)]
    [DataRow(DataType.UInt32, 4)]
    [DataRow(DataType.UInt64, 8)]
    [DataRow(DataType.Complex64, 8)]
    [DataRow(DataType.Complex128, 16)]
    [DataRow(DataType.BFloat16, 2)]
    [DataRow(DataType.Float8E4M3FN, 1)]
    [DataRow(DataType.Float8E4M3FNUZ, 1)]
    [DataRow(DataType.Float8E5M2, 1)]
    [DataRow(DataType.Float8E5M2FNUZ, 1)]
    [DataRow(DataType.Float8E8M0, 1)]
    public void Read_RawData_TakesTheBytesAsTheyAre(DataType type, int size)
    {
        byte[] raw = Bytes(6 * size);
        ITensor tensor = Read(ProtoModels.Tensor("w", type, [2, 3], raw));
        Assert.AreEqual(type, tensor.ElementType);
        CollectionAssert.AreEqual(new[] { 2L, 3L }, tensor.Dims.ToArray());
        CollectionAssert.AreEqual(raw, tensor.ToBytes());
    }

    [TestMethod]
    [DataRow(DataType.Int4, 3)]
    [DataRow(DataType.UInt4, 3)]
    [DataRow(DataType.Float4E2M1, 3)]
    [DataRow(DataType.UInt2, 2)]
    [DataRow(DataType.Int2, 2)]
    public void Read_SubByteTypes_PackSeveralElementsIntoAByteAndRoundUp(DataType type, int bytes)
    {
        byte[] raw = Bytes(bytes);
        CollectionAssert.AreEqual(raw, Read(ProtoModels.Tensor("w", type, [5], raw)).ToBytes());
        TensorProto typed = ProtoModels.Tensor("w", type, [5]);
        typed.Int32Data.AddRange(raw.Select(b => (int)b));
        CollectionAssert.AreEqual(raw, Read(typed).ToBytes());
    }

    [TestMethod]
    public void Read_FloatData_HoldsFloatAndComplex()
    {
        TensorProto real = ProtoModels.Tensor("w", DataType.Float, [2]);
        real.FloatData.AddRange([1.5f, float.NaN]);
        CollectionAssert.AreEqual(new[] { 1.5f, float.NaN }, Read(real).ToArray<float>());
        TensorProto complex = ProtoModels.Tensor("w", DataType.Complex64, [1]);
        complex.FloatData.AddRange([1f, 2f]);
        CollectionAssert.AreEqual(new byte[] { 0, 0, 128, 63, 0, 0, 0, 64 }, Read(complex).ToBytes());
    }

    [TestMethod]
    public void Read_DoubleAndInt64AndUInt64Data_HoldTheirTypes()
    {
        TensorProto doubles = ProtoModels.Tensor("w", DataType.Double, [2]);
        doubles.DoubleData.AddRange([0.1, -1e300]);
        CollectionAssert.AreEqual(new[] { 0.1, -1e300 }, Read(doubles).ToArray<double>());
        TensorProto longs = ProtoModels.Tensor("w", DataType.Int64, [2]);
        longs.Int64Data.AddRange([long.MinValue, -1]);
        CollectionAssert.AreEqual(new[] { long.MinValue, -1 }, Read(longs).ToArray<long>());
        TensorProto unsigned = ProtoModels.Tensor("w", DataType.UInt64, [1]);
        unsigned.Uint64Data.Add(ulong.MaxValue);
        CollectionAssert.AreEqual(new[] { ulong.MaxValue }, Read(unsigned).ToArray<ulong>());
        TensorProto narrow = ProtoModels.Tensor("w", DataType.UInt32, [1]);
        narrow.Uint64Data.Add(uint.MaxValue);
        CollectionAssert.AreEqual(new[] { uint.MaxValue }, Read(narrow).ToArray<uint>());
    }

    [TestMethod]
    public void Read_Int32Data_HoldsNarrowTypesAndBitPatterns()
    {
        CollectionAssert.AreEqual(new[] { -5, int.MaxValue }, Read(Int32Data(DataType.Int32, -5, int.MaxValue)).ToArray<int>());
        CollectionAssert.AreEqual(new sbyte[] { -128, 127 }, Read(Int32Data(DataType.Int8, -128, 127)).ToArray<sbyte>());
        CollectionAssert.AreEqual(new byte[] { 255, 0 }, Read(Int32Data(DataType.UInt8, 255, 0)).ToArray<byte>());
        CollectionAssert.AreEqual(new ushort[] { 65535, 1 }, Read(Int32Data(DataType.UInt16, 65535, 1)).ToArray<ushort>());
        CollectionAssert.AreEqual(new[] { true, false }, Read(Int32Data(DataType.Bool, 1, 0)).ToArray<bool>());
        CollectionAssert.AreEqual(new[] { (Half)1, (Half)(-2) }, Read(Int32Data(DataType.Float16, 0x3C00, 0xC000)).ToArray<Half>());
        CollectionAssert.AreEqual(new[] { 1f, -2f }, Read(Int32Data(DataType.BFloat16, 0x3F80, 0xC000)).ToFloats());
        CollectionAssert.AreEqual(new byte[] { 0x38, 0xB8 }, Read(Int32Data(DataType.Float8E4M3FN, 0x38, 0xB8)).ToBytes());
    }

    [TestMethod]
    public void Read_Strings_KeepTheirBytes()
    {
        TensorProto proto = ProtoModels.Tensor("w", DataType.String, [2]);
        proto.StringData.AddRange([ByteString.CopyFromUtf8("né"), ByteString.CopyFrom(0xFF, 0x00)]);
        StringTensor tensor = (StringTensor)Read(proto);
        Assert.AreEqual("né", Encoding.UTF8.GetString(tensor.Values[0].Span));
        CollectionAssert.AreEqual(new byte[] { 0xFF, 0x00 }, tensor.Values[1].ToArray());
    }

    [TestMethod]
    public void Read_NoElements_NeedsNoData()
    {
        Assert.AreEqual(0, Read(ProtoModels.Tensor("w", DataType.Float, [0, 4])).ByteLength);
        Assert.AreEqual(0, Read(ProtoModels.Tensor("w", DataType.Float, [4, 0], [])).ByteLength);
    }

    [TestMethod]
    [DataRow(DataType.Float, new[] { 4L }, 15, "float[4], takes 16 bytes, but the file holds 15")]
    [DataRow(DataType.Float, new[] { 4L }, 17, "takes 16 bytes, but the file holds 17")]
    [DataRow(DataType.Int4, new[] { 3L }, 1, "takes 2 bytes, but the file holds 1")]
    [DataRow(DataType.Float, new[] { 1L << 40 }, 4, "but the file holds 4 for it")]
    [DataRow(DataType.Float, new[] { -1L }, 4, "dimension below 0 or more than 2^63 bytes")]
    [DataRow(DataType.Float, new[] { 1L << 62, 1L << 62 }, 4, "dimension below 0 or more than 2^63 bytes")]
    [DataRow(DataType.Float, new[] { 1L << 62, 1L << 62, 0L }, 0, "dimension below 0 or more than 2^63 bytes")]
    [DataRow(DataType.Complex128, new[] { 1L << 60 }, 4, "dimension below 0 or more than 2^63 bytes")]
    [DataRow(DataType.Undefined, new[] { 1L }, 4, "has undefined elements")]
    [DataRow((DataType)99, new[] { 1L }, 4, "has type 99 elements")]
    [DataRow(DataType.String, new[] { 1L }, 4, "holds strings as raw data")]
    public void Read_RawDataOfAnotherSize_IsRefusedWithoutAllocating(DataType type, long[] dims, int bytes, string expected)
    {
        string message = ProtoModels.Refuse(ProtoModels.Weighted(ProtoModels.Tensor("w", type, dims, new byte[bytes])), expected);
        StringAssert.Contains(message, "initializer 'w'");
    }

    [TestMethod]
    [DataRow(DataType.Float, new[] { 1L << 40 })]
    [DataRow(DataType.Complex64, new[] { long.MaxValue / 16 })]
    [DataRow(DataType.Int4, new[] { 1L << 50 })]
    [DataRow(DataType.String, new[] { 1L << 40 })]
    [DataRow(DataType.Int64, new[] { 3L })]
    public void Read_TypedDataOfAnotherCount_IsRefusedWithoutAllocating(DataType type, long[] dims) =>
        ProtoModels.Refuse(ProtoModels.Weighted(ProtoModels.Tensor("w", type, dims)), "elements, but the file holds 0");

    [TestMethod]
    [DataRow(DataType.UInt8, 256)]
    [DataRow(DataType.Int8, -129)]
    [DataRow(DataType.Float16, 65536)]
    [DataRow(DataType.Bool, 300)]
    public void Read_TypedDataTooWide_NamesElementAndType(DataType type, int value) =>
        ProtoModels.Refuse(ProtoModels.Weighted(Int32Data(type, 0, value)), $"element 1 is {value}, which does not fit {type.OnnxName()}");

    [TestMethod]
    public void Read_RawAndTypedData_IsRefused()
    {
        TensorProto proto = ProtoModels.Tensor("w", DataType.Float, [1], new byte[4]);
        proto.FloatData.Add(1f);
        ProtoModels.Refuse(ProtoModels.Weighted(proto), "holds its elements twice");
    }

    [TestMethod]
    public void Read_Segment_IsRefused()
    {
        TensorProto proto = ProtoModels.Tensor("w", DataType.Float, [1], new byte[4]);
        proto.Segment = new() { Begin = 0, End = 4 };
        ProtoModels.Refuse(ProtoModels.Weighted(proto), "one segment of a tensor");
    }

    private static ITensor Read(TensorProto proto) => ProtoModels.Read(ProtoModels.Weighted(proto)).Graph.GetValue("w").Initializer!;

    private static TensorProto Int32Data(DataType type, params int[] values)
    {
        TensorProto proto = ProtoModels.Tensor("w", type, [values.Length]);
        proto.Int32Data.AddRange(values);
        return proto;
    }

    private static byte[] Bytes(int count) => [.. Enumerable.Range(1, count).Select(i => (byte)(i * 7))];
}

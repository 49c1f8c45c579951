using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Tests.IR;

[TestClass]
public sealed class SparseTensorTests
{
    private static readonly float[] Dense = [0, 1, 0, 0, 2, 3];

    [TestMethod]
    public void Read_PositionsOrCoordinates_GivesTheDenseContent()
    {
        DenseTensor values = DenseTensor.Vector(1f, 2f, 3f);
        CollectionAssert.AreEqual(Dense, new SparseTensor(values, DenseTensor.Vector(1L, 4L, 5L), [2, 3]).ToArray<float>());
        CollectionAssert.AreEqual(Dense, new SparseTensor(values, DenseTensor.Of([3, 2], [0L, 1L, 1L, 1L, 1L, 2L]), [2, 3]).ToArray<float>());
    }

    [TestMethod]
    public void Read_EveryRange_GivesThatPartOfTheWhole()
    {
        SparseTensor tensor = new(DenseTensor.Vector(1f, 2f, 3f), DenseTensor.Vector(1L, 4L, 5L), [2, 3]);
        byte[] whole = tensor.ToBytes();
        for (int start = 0; start <= whole.Length; start++)
        {
            for (int length = 0; length <= whole.Length - start; length++)
            {
                byte[] part = new byte[length];
                Array.Fill(part, (byte)0xEE);
                tensor.Read(start, part);
                CollectionAssert.AreEqual(whole[start..(start + length)], part, $"{length} bytes at {start}");
            }
        }
    }

    [TestMethod]
    [DataRow(new[] { 1L, 1L })]
    [DataRow(new[] { 4L, 1L })]
    [DataRow(new[] { -1L, 1L })]
    [DataRow(new[] { 1L, 6L })]
    [DataRow(new[] { 1L })]
    public void Create_IndicesOutOfOrderOrRange_Throws(long[] positions) =>
        Assert.ThrowsExactly<ArgumentException>(() => new SparseTensor(DenseTensor.Vector(1f, 2f), DenseTensor.Vector(positions), [2, 3]));
}

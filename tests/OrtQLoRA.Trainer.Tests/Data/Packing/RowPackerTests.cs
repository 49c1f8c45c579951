using OrtQLoRA.Trainer.Data.Packing;

namespace OrtQLoRA.Trainer.Tests.Data.Packing;

[TestClass]
public sealed class RowPackerTests
{
    [TestMethod]
    [DataRow(1, 7)]
    [DataRow(100, 64)]
    [DataRow(3 * RowPacker.Window + 5, 128)]
    public void Pack_AnyLengths_KeepsEachOnceAndWithinRows(int count, int rowLength)
    {
        int[] lengths = [.. Enumerable.Range(0, count).Select(i => 1 + (i * 7919 % rowLength))];

        int[][] rows = [.. RowPacker.Pack(lengths, rowLength)];

        CollectionAssert.AreEqual(Enumerable.Range(0, count).ToArray(), rows.SelectMany(r => r).Order().ToArray());
        Assert.IsTrue(rows.All(r => r.Sum(i => lengths[i]) <= rowLength));
        Assert.IsTrue(rows.All(r => r.SequenceEqual(r.Order())));
        CollectionAssert.AreEqual(rows.Select(r => r[0]).Order().ToArray(), rows.Select(r => r[0]).ToArray());
    }

    [TestMethod]
    public void Pack_LengthsThatFillRows_LeavesNoRoom()
    {
        int[] lengths = [3, 6, 5, 2, 7, 1, 4, 8, 4];

        int[][] rows = [.. RowPacker.Pack(lengths, 8)];

        Assert.HasCount(5, rows);
    }
}

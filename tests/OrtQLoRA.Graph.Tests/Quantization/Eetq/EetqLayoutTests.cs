using FsCheck;
using FsCheck.Fluent;
using OrtQLoRA.Graph.Quantization.Eetq;

namespace OrtQLoRA.Graph.Tests.Quantization.Eetq;

[TestClass]
public sealed class EetqLayoutTests
{
    [TestMethod]
    public void Pack_ReferenceVectors_AreBitExact()
    {
        foreach (EetqFixture fixture in EetqFixture.All())
        {
            foreach (string input in (string[])["", "fp16in."])
            {
                sbyte[] plain = fixture.Read<sbyte>(input + "q.i8");
                byte[] packed = new byte[plain.Length];
                EetqLayout.Pack(plain, fixture.K, fixture.N, packed);
                sbyte[] back = new sbyte[plain.Length];
                EetqLayout.Unpack(packed, fixture.K, fixture.N, back);

                CollectionAssert.AreEqual(fixture.Read<byte>(input + "sm80.i8"), packed, fixture.Name);
                CollectionAssert.AreEqual(plain, back, fixture.Name);
            }
        }
    }

    [TestMethod]
    public void Offset_AllPositionsOfWholeTiles_IsABijectionWithPositionAsInverse()
    {
        foreach ((int rows, int columns) in ((int, int)[])[(64, 64), (128, 192), (320, 64)])
        {
            bool[] seen = new bool[rows * columns];
            for (int k = 0; k < rows; k++)
            {
                for (int n = 0; n < columns; n++)
                {
                    long offset = EetqLayout.Offset(k, n, rows);
                    Assert.IsFalse(seen[offset], $"Two values at {offset}.");
                    seen[offset] = true;
                    Assert.AreEqual((k, n), EetqLayout.Position(offset, rows));
                }
            }
        }
    }

    [TestMethod]
    public void UnpackPadded_OfPackPadded_IsTheMatrixForAnySize()
    {
        Prop.ForAll(Gen.Choose(1, 150).Two().ToArbitrary(), size =>
        {
            (int rows, int columns) = size;
            sbyte[] plain = new sbyte[rows * columns];
            new Random((rows * 997) + columns).NextBytes(System.Runtime.InteropServices.MemoryMarshal.AsBytes(plain.AsSpan()));

            byte[] packed = EetqLayout.PackPadded(plain, rows, columns);

            return packed.Length == EetqLayout.Padded(rows) * EetqLayout.Padded(columns)
                && plain.AsSpan().SequenceEqual(EetqLayout.UnpackPadded(packed, rows, columns));
        }).QuickCheckThrowOnFailure();
    }

    [TestMethod]
    public void PackPadded_Padding_IsZeroWithBias()
    {
        byte[] packed = EetqLayout.PackPadded([5], 1, 1);

        Assert.AreEqual(1, packed.Count(b => b == 133));
        Assert.AreEqual((64 * 64) - 1, packed.Count(b => b == 128));
    }

    [TestMethod]
    [DataRow(32, 64)]
    [DataRow(64, 96)]
    public void Pack_SizesThatAreNoWholeTiles_AreRefused(int rows, int columns)
    {
        ArgumentException error = Assert.ThrowsExactly<ArgumentException>(
            () => EetqLayout.Pack(new sbyte[rows * columns], rows, columns, new byte[rows * columns]));

        StringAssert.Contains(error.Message, $"[{rows}, {columns}]");
    }
}

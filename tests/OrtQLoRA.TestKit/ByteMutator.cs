namespace OrtQLoRA.TestKit;

/// <summary>Damages bytes the way disks, downloads and attackers do: for tests that only our own errors may come out.</summary>
public static class ByteMutator
{
    // Values at the edges of what length and number fields can hold.
    private static readonly byte[] Edges = [0, 1, 0x7F, 0x80, 0xFF];

    /// <summary>A copy with one to four faults: flipped bits, edge values, cuts, repeated, inserted or removed runs.</summary>
    public static byte[] Mutate(byte[] original, Random random)
    {
        List<byte> bytes = [.. original];
        int faults = random.Next(1, 5);
        for (int i = 0; i < faults && bytes.Count > 0; i++)
        {
            int at = random.Next(bytes.Count);
            int run = Math.Min(random.Next(1, 9), bytes.Count - at);
            switch (random.Next(8))
            {
                case 0 or 1:
                    bytes[at] ^= (byte)(1 << random.Next(8));
                    break;
                case 2 or 3:
                    bytes[at] = Edges[random.Next(Edges.Length)];
                    break;
                case 4:
                    bytes[at] = (byte)random.Next(256);
                    break;
                case 5:
                    bytes.RemoveRange(at, run);
                    break;
                case 6:
                    bytes.InsertRange(at, bytes.GetRange(random.Next(bytes.Count - run + 1), run));
                    break;
                default:
                    if (random.Next(4) == 0)
                    {
                        bytes.RemoveRange(at, bytes.Count - at);
                    }
                    else
                    {
                        bytes.InsertRange(at, Enumerable.Repeat((byte)0xFF, run));
                    }

                    break;
            }
        }

        return [.. bytes];
    }
}

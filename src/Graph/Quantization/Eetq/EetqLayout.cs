using System.Buffers;

namespace OrtQLoRA.Graph.Quantization.Eetq;

/// <summary>
/// EETQ's processed weight layout for tensor cores (<c>eetq_sm80</c>; SM75 to SM89): a permutation of the plain
/// matrix [K, N] with 128 added to every value. Column pairs follow one another; in a pair, tiles of 64 rows alternate
/// between its two columns; in a tile, each group of 16 rows has its two halves zipped.
/// </summary>
/// <remarks>
/// <c>offset(k, n) = (n &gt;&gt; 1) 2K + (k &gt;&gt; 6) 128 + (n &amp; 1) 64 + (k &amp; 48) + 2 (k &amp; 7) + ((k &gt;&gt; 3) &amp; 1)</c>.
/// It needs K and N in whole tiles; <see cref="PackPadded"/> pads others.
/// </remarks>
public static class EetqLayout
{
    /// <summary>Name of the layout in metadata.</summary>
    public const string Name = "eetq_sm80";

    /// <summary>Rows and columns come in multiples of this.</summary>
    public const int Tile = 64;

    private const int Bias = 128;

    /// <summary>The size in whole tiles that holds <paramref name="size"/> rows or columns.</summary>
    public static int Padded(int size) => checked(size + Tile - 1) / Tile * Tile;

    /// <summary>Position in the packed buffer of the value in row <paramref name="k"/> and column <paramref name="n"/>.</summary>
    /// <param name="k">Row, an input feature.</param>
    /// <param name="n">Column, an output feature.</param>
    /// <param name="rows">K, a multiple of <see cref="Tile"/>.</param>
    public static long Offset(int k, int n, int rows) =>
        ((long)(n >> 1) * 2 * rows) + ((long)(k >> 6) * 128) + ((n & 1) * 64) + (k & 48) + (2 * (k & 7)) + ((k >> 3) & 1);

    /// <summary>Row and column of the value at a position of the packed buffer: the inverse of <see cref="Offset"/>.</summary>
    public static (int K, int N) Position(long offset, int rows)
    {
        int pair = (int)(offset / (2L * rows));
        int inPair = (int)(offset % (2L * rows));
        int inTile = inPair & 63;
        int inGroup = inTile & 15;
        int k = ((inPair >> 7) * Tile) + (inTile & 48) + (inGroup >> 1) + (8 * (inGroup & 1));
        return (k, (2 * pair) + ((inPair >> 6) & 1));
    }

    /// <summary>Packs a plain matrix whose sizes are whole tiles.</summary>
    /// <param name="plain">q [K, N], row-major.</param>
    /// <param name="rows">K, a multiple of 64.</param>
    /// <param name="columns">N, a multiple of 64.</param>
    /// <param name="packed">Receives the K * N bytes.</param>
    /// <exception cref="ArgumentException">A size is no multiple of 64, or a buffer has the wrong length.</exception>
    public static void Pack(ReadOnlySpan<sbyte> plain, int rows, int columns, Span<byte> packed)
    {
        RequireTiles(rows, columns, plain.Length, packed.Length);
        for (int k = 0; k < rows; k++)
        {
            ReadOnlySpan<sbyte> row = plain.Slice(k * columns, columns);
            int inPair = (int)Offset(k, 0, rows);
            for (int n = 0; n < columns; n += 2)
            {
                int at = (n * rows) + inPair;
                packed[at] = (byte)(row[n] + Bias);
                packed[at + Tile] = (byte)(row[n + 1] + Bias);
            }
        }
    }

    /// <summary>Unpacks a matrix whose sizes are whole tiles: the inverse of <see cref="Pack"/>.</summary>
    /// <param name="packed">The K * N bytes.</param>
    /// <param name="rows">K, a multiple of 64.</param>
    /// <param name="columns">N, a multiple of 64.</param>
    /// <param name="plain">Receives q [K, N], row-major.</param>
    /// <exception cref="ArgumentException">A size is no multiple of 64, or a buffer has the wrong length.</exception>
    public static void Unpack(ReadOnlySpan<byte> packed, int rows, int columns, Span<sbyte> plain)
    {
        RequireTiles(rows, columns, plain.Length, packed.Length);
        for (int k = 0; k < rows; k++)
        {
            Span<sbyte> row = plain.Slice(k * columns, columns);
            int inPair = (int)Offset(k, 0, rows);
            for (int n = 0; n < columns; n += 2)
            {
                int at = (n * rows) + inPair;
                row[n] = (sbyte)(packed[at] - Bias);
                row[n + 1] = (sbyte)(packed[at + Tile] - Bias);
            }
        }
    }

    /// <summary>Packs a matrix of any size, padded to whole tiles with q = 0 (give padded columns the scale 0).</summary>
    /// <returns>A buffer of <c>Padded(rows) * Padded(columns)</c> bytes.</returns>
    public static byte[] PackPadded(ReadOnlySpan<sbyte> plain, int rows, int columns)
    {
        RequireLength(plain.Length, rows, columns);
        int paddedRows = Padded(rows);
        int paddedColumns = Padded(columns);
        byte[] packed = new byte[checked(paddedRows * paddedColumns)];
        if (paddedRows == rows && paddedColumns == columns)
        {
            Pack(plain, rows, columns, packed);
            return packed;
        }

        sbyte[] rented = ArrayPool<sbyte>.Shared.Rent(packed.Length);
        Span<sbyte> padded = rented.AsSpan(0, packed.Length);
        padded.Clear();
        for (int k = 0; k < rows; k++)
        {
            plain.Slice(k * columns, columns).CopyTo(padded[(k * paddedColumns)..]);
        }

        Pack(padded, paddedRows, paddedColumns, packed);
        ArrayPool<sbyte>.Shared.Return(rented);
        return packed;
    }

    /// <summary>Unpacks a matrix of any size, dropping the padding: the inverse of <see cref="PackPadded"/>.</summary>
    /// <exception cref="ArgumentException">The buffer has not the padded size.</exception>
    public static sbyte[] UnpackPadded(ReadOnlySpan<byte> packed, int rows, int columns)
    {
        int paddedRows = Padded(rows);
        int paddedColumns = Padded(columns);
        RequireLength(packed.Length, paddedRows, paddedColumns);
        sbyte[] plain = new sbyte[checked(rows * columns)];
        for (int k = 0; k < rows; k++)
        {
            for (int n = 0; n < columns; n++)
            {
                plain[(k * columns) + n] = (sbyte)(packed[(int)Offset(k, n, paddedRows)] - Bias);
            }
        }

        return plain;
    }

    private static void RequireTiles(int rows, int columns, int plainLength, int packedLength)
    {
        if (rows % Tile != 0 || columns % Tile != 0 || rows < 0 || columns < 0)
        {
            throw new ArgumentException($"The {Name} layout needs multiples of {Tile}, not [{rows}, {columns}]; pad with {nameof(PackPadded)}.");
        }

        RequireLength(plainLength, rows, columns);
        RequireLength(packedLength, rows, columns);
    }

    private static void RequireLength(int length, int rows, int columns)
    {
        if (length != (long)rows * columns)
        {
            throw new ArgumentException($"A matrix [{rows}, {columns}] has {(long)rows * columns} values, not {length}.");
        }
    }
}

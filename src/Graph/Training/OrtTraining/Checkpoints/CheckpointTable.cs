using Google.FlatBuffers;

namespace OrtQLoRA.Graph.Training.OrtTraining.Checkpoints;

/// <summary>One table of a checkpoint that <see cref="CheckpointVerifier"/> has passed.</summary>
internal readonly struct CheckpointTable
{
    private readonly Table _table;

    private CheckpointTable(int position, ByteBuffer buffer)
    {
        _table = new Table(position, buffer);
    }

    internal static CheckpointTable Root(ByteBuffer buffer) => new(buffer.GetInt(buffer.Position) + buffer.Position, buffer);

    internal bool Has(int slot) => Offset(slot) != 0;

    internal int Int32(int slot) => Offset(slot) is var o and not 0 ? _table.bb.GetInt(_table.bb_pos + o) : 0;

    internal long Int64(int slot, long absent = 0) => Offset(slot) is var o and not 0 ? _table.bb.GetLong(_table.bb_pos + o) : absent;

    internal float Single(int slot) => Offset(slot) is var o and not 0 ? _table.bb.GetFloat(_table.bb_pos + o) : 0;

    internal bool Boolean(int slot) => Offset(slot) is var o and not 0 && _table.bb.Get(_table.bb_pos + o) != 0;

    /// <summary>A string field; null if it is absent.</summary>
    internal string? Text(int slot) => Offset(slot) is var o and not 0 ? _table.__string(_table.bb_pos + o) : null;

    /// <summary>A table field; null if it is absent.</summary>
    internal CheckpointTable? Child(int slot) =>
        Offset(slot) is var o and not 0 ? new CheckpointTable(_table.__indirect(_table.bb_pos + o), _table.bb) : null;

    /// <summary>The tables of a vector field; empty if it is absent.</summary>
    internal IEnumerable<CheckpointTable> Children(int slot)
    {
        Table table = _table;
        int offset = Offset(slot);
        int count = offset == 0 ? 0 : table.__vector_len(offset);
        int start = offset == 0 ? 0 : table.__vector(offset);
        for (int i = 0; i < count; i++)
        {
            yield return new CheckpointTable(table.__indirect(start + (i * sizeof(int))), table.bb);
        }
    }

    /// <summary>The numbers of a vector field; empty if it is absent.</summary>
    internal long[] Int64s(int slot)
    {
        int offset = Offset(slot);
        long[] values = new long[offset == 0 ? 0 : _table.__vector_len(offset)];
        int start = offset == 0 ? 0 : _table.__vector(offset);
        for (int i = 0; i < values.Length; i++)
        {
            values[i] = _table.bb.GetLong(start + (i * sizeof(long)));
        }

        return values;
    }

    /// <summary>Where the bytes of a vector field lie in the file; empty if it is absent.</summary>
    internal (int Start, int Length) Bytes(int slot) => Offset(slot) is var o and not 0 ? (_table.__vector(o), _table.__vector_len(o)) : (0, 0);

    private int Offset(int slot) => _table.__offset(CheckpointFields.VTableOffset(slot));
}

using System.Text.Json;
using Parquet.Serialization;

namespace OrtQLoRA.Trainer.Data.Formats;

/// <summary>Reads Apache Parquet, one row group in memory at a time.</summary>
internal sealed class ParquetReader : IRecordReader
{
    /// <inheritdoc/>
    public IEnumerable<RecordOrFault> Read(string path, IReadOnlyDictionary<string, string> columns)
    {
        using FileStream stream = File.OpenRead(path);
        int groups = Guarded(path, () => CountGroups(stream));
        long number = 0;
        for (int group = 0; group < groups; group++)
        {
            int index = group;
            IList<Dictionary<string, object?>> rows = Guarded(path, () => ReadGroup(stream, index));
            foreach (Dictionary<string, object?> row in rows)
            {
                using JsonDocument document = JsonSerializer.SerializeToDocument(row);
                yield return new RecordOrFault(new DataRecord(document.RootElement, new SourceLine(path, ++number), columns), null);
            }
        }
    }

    private static int CountGroups(Stream stream)
    {
        Parquet.ParquetReader reader = Parquet.ParquetReader.CreateAsync(stream, leaveStreamOpen: true).GetAwaiter().GetResult();
        try
        {
            return reader.RowGroupCount;
        }
        finally
        {
            reader.DisposeAsync().AsTask().GetAwaiter().GetResult();
        }
    }

    private static IList<Dictionary<string, object?>> ReadGroup(Stream stream, int group)
    {
        stream.Position = 0;
        return ParquetSerializer.DeserializeUntypedAsync(stream, rowGroupIndex: group).GetAwaiter().GetResult().Data!;
    }

    /// <summary>The library reports a damaged file by whatever its internals run into.</summary>
    private static T Guarded<T>(string path, Func<T> read)
    {
        try
        {
            return read();
        }
        catch (Exception e) when (e is not OutOfMemoryException and not TrainingDataException)
        {
            throw new TrainingDataException($"The data file '{path}' cannot be read as Parquet: {e.Message} Write it again, or give JSON lines.", e);
        }
    }
}

namespace OrtQLoRA.Trainer.Data.Formats;

/// <summary>Reads the records of one file of a format, one after the other, without holding the file in memory where the format allows.</summary>
internal interface IRecordReader
{
    /// <summary>Reads.</summary>
    /// <param name="path">The file.</param>
    /// <param name="columns">Column by role.</param>
    /// <exception cref="TrainingDataException">The file as a whole cannot be read.</exception>
    IEnumerable<RecordOrFault> Read(string path, IReadOnlyDictionary<string, string> columns);
}

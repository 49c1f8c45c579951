namespace OrtQLoRA.Graph.Serialization;

/// <summary>How <see cref="OnnxModelWriter"/> lays weights into a data file beside the model.</summary>
public sealed class ExternalDataOptions
{
    /// <summary>Name of the data file, in the model's folder; null for the model's file name with <c>.data</c> appended.</summary>
    public string? FileName { get; init; }

    /// <summary>Tensors of this many bytes or more go to the data file. Default 1024.</summary>
    public long Threshold { get; init; } = 1024;

    /// <summary>
    /// Each tensor begins at a multiple of this many bytes, a power of two. Default 64; 4096 lets other programs map
    /// single tensors.
    /// </summary>
    public int Alignment { get; init; } = 64;

    /// <summary>
    /// Whether tensors of attributes (of Constant nodes, for example) go to the data file too. Default false, since
    /// not every reader looks for external data there.
    /// </summary>
    public bool IncludeAttributes { get; init; }

    /// <summary>
    /// Bytes at which a further data file begins, named like the first with .1, .2 and so on appended; a larger tensor has a file of
    /// its own. Default: no limit.
    /// </summary>
    public long LargestFile { get; init; } = long.MaxValue;

    internal string FileNameFor(string modelPath)
    {
        string name = FileName ?? Path.GetFileName(modelPath) + ".data";
        List<string> faults = [];
        if (name.Length == 0 || name is "." or ".." || name.AsSpan().ContainsAny('/', '\\', '\0'))
        {
            faults.Add($"The external data file name '{name}' must be a plain file name: the file stands beside the model.");
        }

        if (string.Equals(name, Path.GetFileName(modelPath), StringComparison.OrdinalIgnoreCase))
        {
            faults.Add($"The external data file cannot be named '{name}' like the model itself.");
        }

        if (Threshold < 0)
        {
            faults.Add($"The external data threshold is {Threshold} bytes; 0 or more is expected.");
        }

        if (LargestFile < 1)
        {
            faults.Add($"The largest external data file is {LargestFile} bytes; 1 or more is expected.");
        }

        if (Alignment < 1 || !int.IsPow2(Alignment))
        {
            faults.Add($"The external data alignment is {Alignment}; a power of two is expected.");
        }

        return faults.Count == 0 ? name : throw new ConfigurationException(faults);
    }
}

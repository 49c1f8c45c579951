using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Serialization;

namespace OrtQLoRA.Graph.Export.Layout;

/// <summary>Writes an exported model with its weights where they are wanted.</summary>
internal static class ModelFileWriter
{
    /// <summary>Models above this size get their weights in a file beside them; one message ends at 2 GB.</summary>
    private const long OneFileLimit = 1L << 30;

    /// <summary>Writes the model.</summary>
    /// <param name="model">The model.</param>
    /// <param name="path">The file to write; its folder is created if need be.</param>
    /// <param name="original">The files that it comes from.</param>
    /// <param name="mode">Where the weights go.</param>
    /// <param name="shardBytes">Size of a data file in <see cref="ExternalDataMode.Sharded"/>.</param>
    /// <exception cref="ConfigurationException">The model is too large for one file, or a file of the original would be written over.</exception>
    /// <exception cref="FileWriteException">A file cannot be written.</exception>
    public static void Write(OnnxModel model, string path, OriginalFiles original, ExternalDataMode mode, long shardBytes)
    {
        original.Protect(path);
        ExternalDataOptions? options = Options(model, path, original, mode, shardBytes);
        if (options is not null)
        {
            original.Protect(Path.Combine(Path.GetDirectoryName(Path.GetFullPath(path))!, options.FileNameFor(path)));
        }

        OutputFolder.Create(Path.GetDirectoryName(Path.GetFullPath(path))!);
        OnnxModelWriter.Write(model, path, options);
    }

    private static ExternalDataOptions? Options(OnnxModel model, string path, OriginalFiles original, ExternalDataMode mode, long shardBytes)
    {
        switch (mode)
        {
            case ExternalDataMode.Embed:
                return null;
            case ExternalDataMode.Single:
                return new ExternalDataOptions();
            case ExternalDataMode.Sharded:
                return new ExternalDataOptions { LargestFile = shardBytes };
            case ExternalDataMode.Keep when original.DataFiles.Count > 0:
                // A model of the same name finds its data file under the same name.
                bool isSameName = Path.GetFileName(path) == Path.GetFileName(original.Model) && original.DataFiles.Count == 1;
                return new ExternalDataOptions
                {
                    FileName = isSameName ? Path.GetFileName(original.DataFiles[0].Path) : null,
                    Threshold = Math.Min(original.SmallestOutside, new ExternalDataOptions().Threshold),
                    LargestFile = original.DataFiles.Count > 1 ? original.DataFiles.Max(f => f.Length) : long.MaxValue,
                };
            default:
                return model.Graph.Initializers.Sum(i => i.Initializer!.ByteLength) > OneFileLimit ? new ExternalDataOptions() : null;
        }
    }
}

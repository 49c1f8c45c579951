using OrtQLoRA.Graph.IO;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Export.Layout;

/// <summary>The files that a model was read from: none of them may be written over, and exports keep their arrangement.</summary>
internal sealed class OriginalFiles
{
    private OriginalFiles(string model, IReadOnlyList<MappedFile> dataFiles, long smallestOutside)
    {
        Model = Path.GetFullPath(model);
        DataFiles = dataFiles;
        SmallestOutside = smallestOutside;
    }

    /// <summary>Full path of the ONNX file.</summary>
    public string Model { get; }

    /// <summary>Data files beside it.</summary>
    public IReadOnlyList<MappedFile> DataFiles { get; }

    /// <summary>Bytes of the smallest tensor that lies in a data file.</summary>
    public long SmallestOutside { get; }

    /// <summary>Looks at a model before anything is changed in it.</summary>
    public static OriginalFiles Of(string path, OnnxModel model)
    {
        ExternalTensor[] outside = [.. model.Graph.Initializers.Select(i => i.Initializer).OfType<ExternalTensor>().Where(t => !t.IsInModelFile)];
        return new OriginalFiles(path, [.. outside.Select(t => t.File).Distinct()], outside.Select(t => t.ByteLength).DefaultIfEmpty().Min());
    }

    /// <summary>Makes sure that no file of the model is written over.</summary>
    /// <exception cref="ConfigurationException">The output is one of them.</exception>
    public void Protect(string output)
    {
        string full = Path.GetFullPath(output);
        if (full == Model || DataFiles.Any(f => Path.GetFullPath(f.Path) == full))
        {
            throw new ConfigurationException($"The output '{output}' is a file of the base model itself, '{Model}'; write to another file or folder.");
        }
    }
}

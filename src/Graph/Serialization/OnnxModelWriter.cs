using OrtQLoRA.Graph.IO;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Serialization;

/// <summary>
/// Writes ONNX models. Weights stream from their tensors, so writing takes memory for the graph's structure only,
/// whatever the size of the weights.
/// </summary>
public static class OnnxModelWriter
{
    /// <summary>Writes a model to a file, which appears whole or not at all.</summary>
    /// <param name="model">The model.</param>
    /// <param name="path">The file to create or replace; its folder must exist.</param>
    /// <param name="externalData">
    /// How to lay weights into data files beside the model; null to keep all in one file, which ends at 2 GB.
    /// </param>
    /// <exception cref="ConfigurationException">The model is too large for one file, or the options are wrong.</exception>
    /// <exception cref="FileWriteException">The file cannot be written.</exception>
    public static void Write(OnnxModel model, string path, ExternalDataOptions? externalData = null)
    {
        ExternalDataLayout? layout = externalData is null ? null : new ExternalDataLayout(externalData.FileNameFor(path), externalData);
        ModelSerializer serializer = new(model, layout);
        if (layout is null or { Locations: [] })
        {
            AtomicFile.Write(path, serializer.Write);
            return;
        }

        // All files are whole before any gets its name.
        string folder = Path.GetDirectoryName(Path.GetFullPath(path))!;
        List<AtomicFile> files = [];
        try
        {
            for (int i = 0; i < layout.Locations.Count; i++)
            {
                int index = i;
                files.Add(AtomicFile.Create(Path.Combine(folder, layout.Locations[i])));
                files[i].Fill(stream => layout.Write(index, stream));
            }

            files.Add(AtomicFile.Create(path));
            files[^1].Fill(serializer.Write);
            files.ForEach(f => f.Commit());
        }
        finally
        {
            files.ForEach(f => f.Dispose());
        }
    }

    /// <summary>Serializes a model to memory, for a session that is created from bytes.</summary>
    /// <param name="model">The model.</param>
    /// <param name="suppliedAs">
    /// For an initializer of the main graph whose content the session is given by other ways: the data file name to write
    /// in its place; null to write the content. Null for all contents.
    /// </param>
    /// <exception cref="ConfigurationException">What remains is too large for one message.</exception>
    public static byte[] ToBytes(OnnxModel model, Func<Value, string?>? suppliedAs = null)
    {
        ModelSerializer serializer = new(model, layout: null, suppliedAs);
        byte[] bytes = GC.AllocateUninitializedArray<byte>(checked((int)serializer.Length));
        using MemoryStream stream = new(bytes);
        serializer.Write(stream);
        return bytes;
    }
}

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
    /// How to lay weights into a data file beside the model; null to keep all in one file, which ends at 2 GB.
    /// </param>
    /// <exception cref="ConfigurationException">The model is too large for one file, or the options are wrong.</exception>
    /// <exception cref="FileWriteException">The file cannot be written.</exception>
    public static void Write(OnnxModel model, string path, ExternalDataOptions? externalData = null)
    {
        ExternalDataLayout? layout = externalData is null ? null : new ExternalDataLayout(externalData.FileNameFor(path), externalData);
        ModelSerializer serializer = new(model, layout);
        if (layout?.IsUsed != true)
        {
            AtomicFile.Write(path, serializer.Write);
            return;
        }

        // Both files are whole before either gets its name.
        string dataPath = Path.Combine(Path.GetDirectoryName(Path.GetFullPath(path))!, layout.Location);
        using AtomicFile data = AtomicFile.Create(dataPath);
        using AtomicFile file = AtomicFile.Create(path);
        data.Fill(layout.Write);
        file.Fill(serializer.Write);
        data.Commit();
        file.Commit();
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

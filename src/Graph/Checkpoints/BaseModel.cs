using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Serialization;

namespace OrtQLoRA.Graph.Checkpoints;

/// <summary>Reads the model that is trained or exported: an ONNX file, whose weights a checkpoint may supply.</summary>
public static class BaseModel
{
    /// <summary>Reads the model.</summary>
    /// <param name="path">The ONNX file.</param>
    /// <param name="baseWeights">
    /// A Hugging Face checkpoint with the weights to use instead of the file's own, EETQ's int8 included: a safetensors file, an
    /// index of several, or a folder with either. Null for the file's own weights.
    /// </param>
    /// <returns>The model; dispose it to release all mapped files.</returns>
    /// <exception cref="ModelFormatException">A file is absent, malformed or hostile.</exception>
    /// <exception cref="ConfigurationException">The checkpoint does not fit the model; every mismatch is listed.</exception>
    public static OnnxModel Read(string path, string? baseWeights = null)
    {
        OnnxModel model = OnnxModelReader.Read(path);
        if (baseWeights is null)
        {
            return model;
        }

        try
        {
            HuggingFaceCheckpoint checkpoint = HuggingFaceCheckpoint.Open(baseWeights);
            model.Own(checkpoint);
            CheckpointWeights.Put(model, checkpoint);
            return model;
        }
        catch
        {
            model.Dispose();
            throw;
        }
    }
}

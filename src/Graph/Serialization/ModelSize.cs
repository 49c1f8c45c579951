namespace OrtQLoRA.Graph.Serialization;

/// <summary>The size at which a model no longer fits one protobuf message.</summary>
internal static class ModelSize
{
    /// <summary>The largest message: protobuf counts bytes in 31 bits.</summary>
    public const long Limit = int.MaxValue;

    /// <summary>Checks a size.</summary>
    /// <exception cref="ConfigurationException">The model needs external data.</exception>
    public static void Check(long bytes)
    {
        if (bytes > Limit)
        {
            throw new ConfigurationException(
                $"The model takes at least {bytes} bytes in one file, but an ONNX file ends at {Limit}. Write it with external data (ExternalDataOptions, with a threshold low enough to move the large tensors out).");
        }
    }
}

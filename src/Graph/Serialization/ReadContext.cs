namespace OrtQLoRA.Graph.Serialization;

/// <summary>What the parts of one reading share: the name of the source for messages, and its external data.</summary>
internal sealed class ReadContext(string source, ExternalDataReader externalData)
{
    /// <summary>The file's path, or words for a model in memory.</summary>
    public string Source { get; } = source;

    public ExternalDataReader ExternalData { get; } = externalData;

    /// <summary>Raw data that was left in the model file; null if the message holds all of it.</summary>
    public InlineData? Inline { get; init; }

    /// <summary>An error about a place in the source.</summary>
    public ModelFormatException Error(string message, Exception? inner = null) => new($"{Source}: {message}", inner);
}

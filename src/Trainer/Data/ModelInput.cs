using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Passes;

namespace OrtQLoRA.Trainer.Data;

/// <summary>A graph input that a batch must fill.</summary>
/// <param name="Name">Name of the input.</param>
/// <param name="ElementType">Element type.</param>
/// <param name="Shape">Shape as far as it is known.</param>
public sealed record ModelInput(string Name, DataType ElementType, Shape? Shape)
{
    /// <summary>Names of inputs that are filled from a line's tokens; any other input must stand in the data by name.</summary>
    internal static readonly string[] TokenInputs = ["input_ids", "attention_mask", "token_type_ids", "position_ids"];

    /// <summary>What the decoder of an encoder-decoder model reads.</summary>
    internal const string DecoderInputIds = "decoder_input_ids";

    /// <summary>Its mask, made with the labels.</summary>
    internal const string DecoderAttentionMask = "decoder_attention_mask";

    /// <summary>Whether an input belongs to a key/value cache, which training leaves empty.</summary>
    internal static bool IsCache(string name) => CacheEliminationPass.IsCacheInput(name);

    /// <summary>The size of an axis if it is a number.</summary>
    internal long? FixedSize(int axis) => Shape is not null && axis < Shape.Rank ? Shape[axis].Value : null;
}

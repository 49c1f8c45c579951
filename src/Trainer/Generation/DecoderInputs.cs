using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace OrtQLoRA.Trainer.Generation;

/// <summary>Fills a decoder's inputs for one sequence: ids, mask and positions, and an empty past where the model has one.</summary>
internal sealed class DecoderInputs
{
    // The switch of merged decoders; false takes the branch without a past.
    private const string CacheSwitch = "use_cache_branch";

    private readonly List<(string Name, Func<IReadOnlyList<int>, OrtValue> Make)> _inputs = [];

    /// <param name="metadata">The session's inputs.</param>
    /// <param name="settings">What the files beside the model say.</param>
    /// <param name="model">Name of the model for messages.</param>
    /// <exception cref="GenerationException">There is an input that a text decoder does not have.</exception>
    public DecoderInputs(IReadOnlyDictionary<string, NodeMetadata> metadata, ModelSettings settings, string model)
    {
        if (!metadata.ContainsKey("input_ids"))
        {
            throw new GenerationException($"'{model}' has no input 'input_ids' but {string.Join(", ", metadata.Keys)}; it is no text decoder.");
        }

        foreach ((string name, NodeMetadata input) in metadata)
        {
            _inputs.Add((name, MakerOf(name, input, settings) ?? throw new GenerationException(
                $"'{model}' asks for the input '{name}' ({input.ElementDataType}), which text generation cannot fill; export the model as a decoder of input_ids and attention_mask.")));
        }
    }

    public IReadOnlyList<string> Names => [.. _inputs.Select(i => i.Name)];

    /// <summary>The values of all inputs; the caller disposes them.</summary>
    public IReadOnlyList<OrtValue> Make(IReadOnlyList<int> ids) => [.. _inputs.Select(i => i.Make(ids))];

    /// <summary>The value of an input beside tokens that stands for "no past": the caller disposes it.</summary>
    /// <param name="name">The input.</param>
    /// <param name="input">Its type and shape.</param>
    /// <param name="settings">What the files beside the model say.</param>
    /// <param name="rows">Length of the batch axis.</param>
    /// <exception cref="GenerationException">The input has another purpose, or its shape is not known.</exception>
    public static OrtValue WithoutPast(string name, NodeMetadata input, ModelSettings settings, int rows) => name == CacheSwitch
        ? OrtValue.CreateTensorValueFromMemory(new bool[1], [1])
        : name.StartsWith("past", StringComparison.Ordinal) ? OrtValue.CreateAllocatedTensorValue(OrtAllocator.DefaultInstance, input.ElementDataType, PastDims(name, input, settings, rows))
        : throw new GenerationException($"The model asks for the input '{name}' ({input.ElementDataType}), which nothing fills.");

    private static Func<IReadOnlyList<int>, OrtValue>? MakerOf(string name, NodeMetadata input, ModelSettings settings) => name switch
    {
        "input_ids" => ids => Integers(input, [.. ids]),
        "attention_mask" => ids => Integers(input, [.. ids.Select(_ => 1)]),
        "position_ids" => ids => Integers(input, [.. Enumerable.Range(0, ids.Count)]),
        "token_type_ids" => ids => Integers(input, new int[ids.Count]),
        CacheSwitch => _ => WithoutPast(name, input, settings, 1),
        _ when name.StartsWith("past", StringComparison.Ordinal) => EmptyPast(name, input, settings),
        _ => null,
    };

    private static OrtValue Integers(NodeMetadata input, int[] values) => input.ElementDataType == TensorElementType.Int32
        ? OrtValue.CreateTensorValueFromMemory(values, [1, values.Length])
        : OrtValue.CreateTensorValueFromMemory(Array.ConvertAll(values, v => (long)v), [1, values.Length]);

    private static Func<IReadOnlyList<int>, OrtValue> EmptyPast(string name, NodeMetadata input, ModelSettings settings)
    {
        long[] dims = PastDims(name, input, settings, 1);
        return _ => OrtValue.CreateAllocatedTensorValue(OrtAllocator.DefaultInstance, input.ElementDataType, dims);
    }

    // Layouts differ, [batch, heads, length, head] or [2, batch, heads, length, head]; the names of open dimensions tell.
    private static long[] PastDims(string name, NodeMetadata input, ModelSettings settings, int rows)
    {
        long[] dims = new long[input.Dimensions.Length];
        for (int i = 0; i < dims.Length; i++)
        {
            string symbol = input.SymbolicDimensions[i];
            dims[i] = input.Dimensions[i] >= 0 ? input.Dimensions[i]
                : symbol.Contains("batch", StringComparison.OrdinalIgnoreCase) ? rows
                : symbol.Contains("seq", StringComparison.OrdinalIgnoreCase) || symbol.Contains("past", StringComparison.OrdinalIgnoreCase) ? 0
                : i == dims.Length - 1 && settings.HeadSize is int headSize ? headSize
                : throw new GenerationException(
                    $"The model's input '{name}' has the dimension '{symbol}', whose length nothing tells; put the model's genai_config.json (with head_size) beside it, or export it without a past.");
        }

        return dims;
    }
}

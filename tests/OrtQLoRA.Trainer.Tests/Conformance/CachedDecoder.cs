using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using OrtQLoRA.Trainer.Generation;

namespace OrtQLoRA.Trainer.Tests.Conformance;

/// <summary>Greedy decoding as a server does it: the prompt once, then one token at a time beside the keys and values of those before.</summary>
internal sealed class CachedDecoder : IDisposable
{
    private readonly InferenceSession _session;
    private readonly string[] _past;
    private readonly string[] _present;
    private readonly Dictionary<string, OrtValue> _cache;
    private IDisposableReadOnlyCollection<OrtValue>? _outputs;
    private long[] _pending;

    /// <param name="model">A model with inputs <c>past...</c> and, in the same order, outputs <c>present...</c>.</param>
    /// <param name="prompt">The first tokens.</param>
    public CachedDecoder(string model, IReadOnlyList<long> prompt)
    {
        using SessionOptions options = new();

        // Rounding of activations in front of int4 weights would hide what is compared.
        options.AddSessionConfigEntry("session.qdq_matmulnbits_accuracy_level", "1");
        _session = new InferenceSession(model, options);
        _past = [.. _session.InputNames.Where(n => n.StartsWith("past", StringComparison.Ordinal))];
        _present = [.. _session.OutputNames.Where(n => n.StartsWith("present", StringComparison.Ordinal))];
        if (_past.Length == 0 || _past.Length != _present.Length)
        {
            throw new ArgumentException($"'{model}' has {_past.Length} inputs and {_present.Length} outputs for a cache.", nameof(model));
        }

        ModelSettings settings = ModelSettings.Read(_session.ModelMetadata.CustomMetadataMap, model);
        _cache = _past.ToDictionary(n => n, n => DecoderInputs.WithoutPast(n, _session.InputMetadata[n], settings, 1));
        _pending = [.. prompt];
    }

    /// <summary>Tokens whose keys and values the cache holds.</summary>
    public int CacheLength { get; private set; }

    /// <summary>The likeliest next token, which the following call continues.</summary>
    public long Next()
    {
        int total = CacheLength + _pending.Length;
        string[] others = [.. _session.InputNames.Except(_past)];
        OrtValue[] inputs = [.. others.Select(n => Integers(n, n switch
        {
            "input_ids" => _pending,
            "attention_mask" => [.. Enumerable.Repeat(1L, total)],
            "position_ids" => [.. Enumerable.Range(CacheLength, _pending.Length).Select(i => (long)i)],
            _ => throw new ArgumentException($"Nothing fills the input '{n}'."),
        }))];
        try
        {
            using RunOptions run = new();
            IDisposableReadOnlyCollection<OrtValue> outputs = _session.Run(run, [.. others, .. _past], [.. inputs, .. _past.Select(n => _cache[n])], ["logits", .. _present]);
            Replace(outputs);
            float[] logits = ToFloats(outputs[0]);
            int vocabulary = (int)outputs[0].GetTensorTypeAndShape().Shape[^1];
            float[] last = logits[^vocabulary..];
            CacheLength = total;
            _pending = [Array.IndexOf(last, last.Max())];
            return _pending[0];
        }
        finally
        {
            foreach (OrtValue input in inputs)
            {
                input.Dispose();
            }
        }
    }

    public void Dispose()
    {
        Replace(null);
        _session.Dispose();
    }

    // What was the cache until now belongs to the outputs of the run before, or to this class if there was none.
    private void Replace(IDisposableReadOnlyCollection<OrtValue>? outputs)
    {
        if (_outputs is null)
        {
            foreach (OrtValue empty in _cache.Values)
            {
                empty.Dispose();
            }
        }

        _outputs?.Dispose();
        _outputs = outputs;
        _cache.Clear();
        for (int i = 0; outputs is not null && i < _past.Length; i++)
        {
            _cache[_past[i]] = outputs[i + 1];
        }
    }

    private OrtValue Integers(string name, long[] values) => _session.InputMetadata[name].ElementDataType == TensorElementType.Int32
        ? OrtValue.CreateTensorValueFromMemory(Array.ConvertAll(values, v => (int)v), [1, values.Length])
        : OrtValue.CreateTensorValueFromMemory(values, [1, values.Length]);

    private static float[] ToFloats(OrtValue tensor) => tensor.GetTensorTypeAndShape().ElementDataType == TensorElementType.Float16
        ? Array.ConvertAll(tensor.GetTensorDataAsSpan<Float16>().ToArray(), v => (float)v)
        : tensor.GetTensorDataAsSpan<float>().ToArray();
}

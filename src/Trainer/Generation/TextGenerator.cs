using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using OrtQLoRA.Graph;

namespace OrtQLoRA.Trainer.Generation;

/// <summary>
/// Continues token sequences with any ONNX decoder in a plain session: an original model or an exported one. Each step runs
/// the whole sequence, so it needs no key/value cache of the model's and is meant for samples, not for serving.
/// </summary>
public sealed class TextGenerator : IDisposable
{
    private const string LogitsName = "logits";

    private readonly InferenceSession _session;
    private readonly DecoderInputs _inputs;
    private readonly string _model;

    /// <summary>Opens a model.</summary>
    /// <param name="modelPath">An ONNX file with the inputs <c>input_ids</c> and, if it has them, attention_mask, position_ids, token_type_ids and a past.</param>
    /// <param name="sessionOptions">Options of the session; ONNX Runtime's defaults if null.</param>
    /// <exception cref="GenerationException">ONNX Runtime cannot open the model, or it is no text decoder.</exception>
    public TextGenerator(string modelPath, SessionOptions? sessionOptions = null)
    {
        _model = modelPath;
        try
        {
            _session = sessionOptions is null ? new InferenceSession(modelPath) : new InferenceSession(modelPath, sessionOptions);
        }
        catch (OnnxRuntimeException e)
        {
            throw new GenerationException($"ONNX Runtime cannot open '{modelPath}': {e.Message}", e);
        }

        try
        {
            ModelSettings settings = ModelSettings.Read(_session.ModelMetadata.CustomMetadataMap, modelPath);
            ContextLength = settings.ContextLength;
            _inputs = new DecoderInputs(_session.InputMetadata, settings, modelPath);
            if (!_session.OutputMetadata.TryGetValue(LogitsName, out NodeMetadata? logits) || logits.Dimensions.Length != 3)
            {
                string outputs = string.Join(", ", _session.OutputMetadata.Select(o => $"{o.Key} of rank {o.Value.Dimensions.Length}"));
                throw new GenerationException($"'{modelPath}' has no output '{LogitsName}' [batch, sequence, vocabulary] but {outputs}; it is no text decoder.");
            }
        }
        catch
        {
            _session.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Longest sequence, prompt and added tokens together; null for no limit. Read from the model's metadata
    /// (<c>max_position_embeddings</c>), from config.json or genai_config.json beside it; may be set where those say nothing.
    /// </summary>
    public int? ContextLength { get; set; }

    /// <summary>Continues a prompt.</summary>
    /// <param name="prompt">At least one id.</param>
    /// <param name="options">How to choose and when to end.</param>
    /// <param name="onToken">Called with each added id as soon as it is chosen.</param>
    /// <param name="cancellationToken">Ends generation between two tokens.</param>
    /// <exception cref="ConfigurationException">An option is outside its range, or the prompt is empty or too long.</exception>
    /// <exception cref="GenerationException">The model fails on the sequence, or its logits are no numbers.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public GenerationResult Generate(
        IReadOnlyList<int> prompt, GenerationOptions options, Action<int>? onToken = null, CancellationToken cancellationToken = default)
    {
        TokenSampler sampler = new(options);
        if (prompt.Count == 0)
        {
            throw new ConfigurationException("The prompt is empty; give at least one token, such as the beginning-of-sequence token.");
        }

        if (prompt.Count > ContextLength)
        {
            throw new ConfigurationException($"The prompt has {prompt.Count} tokens; '{_model}' takes at most {ContextLength}. Shorten the prompt.");
        }

        List<int> sequence = [.. prompt];
        FinishReason reason = FinishReason.MaxNewTokens;
        while (sequence.Count - prompt.Count < options.MaxNewTokens)
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (sequence.Count >= ContextLength)
            {
                reason = FinishReason.ContextLength;
                break;
            }

            int next = sampler.Choose(LastLogits(sequence));
            if (options.StopIds.Contains(next))
            {
                reason = FinishReason.StopId;
                break;
            }

            sequence.Add(next);
            onToken?.Invoke(next);
        }

        return new GenerationResult(sequence[prompt.Count..], reason);
    }

    /// <summary>The logits of the token that follows a sequence, one number a token of the vocabulary.</summary>
    /// <exception cref="GenerationException">The model fails on the sequence.</exception>
    public float[] LastLogits(IReadOnlyList<int> sequence)
    {
        IReadOnlyList<OrtValue> inputs = _inputs.Make(sequence);
        try
        {
            using RunOptions run = new();
            using IDisposableReadOnlyCollection<OrtValue> outputs = _session.Run(run, _inputs.Names, inputs, [LogitsName]);
            return LastRow(outputs[0]);
        }
        catch (OnnxRuntimeException e)
        {
            throw new GenerationException($"'{_model}' fails on a sequence of {sequence.Count} tokens (ids {sequence.Min()} to {sequence.Max()}): {e.Message} If an id lies outside the vocabulary, the tokenizer belongs to another model.", e);
        }
        finally
        {
            foreach (OrtValue input in inputs)
            {
                input.Dispose();
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _session.Dispose();

    private static float[] LastRow(OrtValue logits)
    {
        OrtTensorTypeAndShapeInfo info = logits.GetTensorTypeAndShape();
        int vocabulary = (int)info.Shape[^1];
        return info.ElementDataType switch
        {
            TensorElementType.Float => logits.GetTensorDataAsSpan<float>()[^vocabulary..].ToArray(),
            TensorElementType.Float16 => Array.ConvertAll(logits.GetTensorDataAsSpan<Float16>()[^vocabulary..].ToArray(), v => (float)v),
            TensorElementType.BFloat16 => Array.ConvertAll(logits.GetTensorDataAsSpan<BFloat16>()[^vocabulary..].ToArray(), v => (float)v),
            _ => throw new GenerationException($"The logits are of type {info.ElementDataType}; they must be floating-point."),
        };
    }
}

using System.Text.Json;
using OrtQLoRA.Graph;
using OrtQLoRA.Trainer.Callbacks;
using OrtQLoRA.Trainer.Chat;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Data;
using OrtQLoRA.Trainer.Data.Packing;
using OrtQLoRA.Trainer.Tokenizers;

namespace OrtQLoRA.Trainer.Training;

/// <summary>Reads data as a model and options ask for.</summary>
internal sealed class DataSetup : IDisposable
{
    /// <summary>Examples among which shuffling draws where data are streamed, unless options say otherwise.</summary>
    private const int StreamedShuffleBuffer = 65536;

    private readonly TrainingOptions _options;
    private readonly DataRequirements _requirements;
    private readonly List<IDisposable> _opened = [];

    /// <summary>Prepares reading.</summary>
    /// <param name="model">What the model needs.</param>
    /// <param name="task">The task.</param>
    /// <param name="options">The run's options.</param>
    /// <param name="warn">Is told what was left out; null for nobody.</param>
    /// <exception cref="ConfigurationException">Options do not fit the model.</exception>
    internal DataSetup(ModelFacts model, TrainingTask task, TrainingOptions options, Action<string>? warn = null)
    {
        _options = options;
        Tokenizer = options.Tokenizer is null ? null : TokenizerLoader.Load(options.Tokenizer);
        PadId = options.PadId ?? Tokenizer?.SpecialTokens.Padding ?? 0;
        if (options.MaxLength > model.ContextLength)
        {
            throw new ConfigurationException($"--max-length is {options.MaxLength}, but the model's context holds {model.ContextLength} tokens; give at most that.");
        }

        _requirements = new DataRequirements
        {
            Task = task,
            NeedsTokens = model.NeedsTokens,
            VocabularySize = model.VocabularySize,
            ClassCount = model.ClassCount,
            ClassNames = options.Labels ?? ClassNames(options.Model),
            MaxLength = options.MaxLength ?? (options.Truncation == TruncationPolicy.Right ? null : model.ContextLength),
            ContextLength = model.ContextLength,
            Truncation = options.Truncation,
            Tokenizer = Tokenizer,
            ChatTemplate = ChatTemplate.Find(options.Tokenizer, options.ChatTemplate),
            AppendEndOfSequence = options.AppendEos,
            LossOn = options.LossOn,
            Columns = options.Columns ?? new Dictionary<string, string>(),
            OnBadLine = options.OnBadLine,
            Streaming = options.Streaming,
            Warn = warn,
            OtherInputs = model.OtherInputs,
            DecoderStartId = task == TrainingTask.SequenceToSequence ? DecoderStart(options.Model) : null,
            PadId = PadId,
        };
    }

    /// <summary>Turns text into ids and back; null if the data are ids.</summary>
    internal ITextTokenizer? Tokenizer { get; }

    /// <summary>Token id in padded places.</summary>
    internal long PadId { get; }

    /// <summary>Opens data as they are; streamed data can be read until this object is disposed of.</summary>
    internal IReadOnlyList<TrainingExample> Read(string path)
    {
        IReadOnlyList<TrainingExample> examples = DataFile.Read(path, _requirements);
        if (examples is IDisposable files)
        {
            _opened.Add(files);
        }

        return examples;
    }

    /// <inheritdoc/>
    public void Dispose() => _opened.ForEach(o => o.Dispose());

    /// <summary>Opens what to train on and what to evaluate on.</summary>
    internal (IReadOnlyList<TrainingExample> Train, IReadOnlyList<TrainingExample>? Eval) ReadAll()
    {
        IReadOnlyList<TrainingExample> all = Read(_options.Data);
        return _options.EvalSplit is double held
            ? ExampleSubset.Split(all, held, (ulong)_options.Seed)
            : (all, _options.EvalData is null ? null : Read(_options.EvalData));
    }

    /// <summary>Puts examples into rows of <c>--max-length</c> tokens.</summary>
    /// <exception cref="ConfigurationException">Task, model or options do not allow it.</exception>
    internal PackedExamples Pack(IReadOnlyList<TrainingExample> examples, TrainingTask task, ITrainingCallback callback)
    {
        if (task != TrainingTask.CausalLm)
        {
            throw new ConfigurationException($"--packing is for --task causal-lm, not {OptionText.Name(task)}, which the adapter asks for: other tasks have one label or vector a row.");
        }

        if (_requirements.OtherInputs.Count > 0)
        {
            throw new ConfigurationException($"--packing puts several examples into a row, but the model takes '{string.Join("', '", _requirements.OtherInputs)}' of each; train without --packing.");
        }

        int length = _options.MaxLength ?? _requirements.ContextLength
            ?? throw new ConfigurationException("--packing needs --max-length, the number of tokens in a row: the model does not tell how many it takes.");
        PackedExamples packed = PackedExamples.Create(examples, length);
        callback.OnStage($"Packed {examples.Count} examples into {packed.Count} rows of up to {length} tokens");
        return packed;
    }

    /// <summary>A collator with the options' padding.</summary>
    internal DataCollator CreateCollator(IReadOnlyList<ModelInput> inputs, TrainingTask task) => new(inputs, task, PadId)
    {
        MinimumLength = _options.Padding == PaddingPolicy.MaxLength ? _options.MaxLength : null,
        LengthMultiple = _options.PadToMultiple,
    };

    /// <summary>A sampler with the options' order.</summary>
    internal static BatchSampler CreateSampler(IReadOnlyList<TrainingExample> examples, TrainingOptions options) =>
        new(examples.Count, options.Batch, options.GradientAccumulation, options.Shuffle ? (ulong)options.Seed : null)
        {
            ShuffleBuffer = options.ShuffleBuffer ?? (examples is StreamedExamples ? StreamedShuffleBuffer : null),
            LengthOf = options.GroupByLength ? i => examples[i].InputIds.Length : null,
        };

    /// <summary>The names that the model's config.json gives its classes.</summary>
    private static IReadOnlyList<string> ClassNames(string modelPath) => ConfigValue(modelPath, "id2label") is { ValueKind: JsonValueKind.Object } names
        ? [.. names.EnumerateObject().Where(n => int.TryParse(n.Name, out _)).OrderBy(n => int.Parse(n.Name, System.Globalization.CultureInfo.InvariantCulture)).Select(n => n.Value.ToString())]
        : [];

    private static long? DecoderStart(string modelPath) =>
        (ConfigValue(modelPath, "decoder_start_token_id") ?? ConfigValue(modelPath, "bos_token_id")) is { ValueKind: JsonValueKind.Number } value && value.TryGetInt64(out long id) ? id : null;

    /// <summary>A value of the model's config.json; null if there is none.</summary>
    private static JsonElement? ConfigValue(string modelPath, string key)
    {
        string file = Path.Combine(Path.GetDirectoryName(Path.GetFullPath(modelPath.Length == 0 ? "." : modelPath)) ?? "", "config.json");
        if (!File.Exists(file))
        {
            return null;
        }

        try
        {
            using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(file));
            return document.RootElement.ValueKind == JsonValueKind.Object && document.RootElement.TryGetProperty(key, out JsonElement value) ? value.Clone() : null;
        }
        catch (JsonException e)
        {
            throw new ModelFormatException($"'{file}' is no JSON: {e.Message}", e);
        }
    }
}

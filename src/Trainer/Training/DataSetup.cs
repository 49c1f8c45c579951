using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Data;
using OrtQLoRA.Trainer.Tokenizers;

namespace OrtQLoRA.Trainer.Training;

/// <summary>Reads data files as a model and options ask for.</summary>
internal sealed class DataSetup
{
    private readonly DataRequirements _requirements;

    internal DataSetup(ModelFacts model, TrainingTask task, TrainingOptions options)
    {
        ITextTokenizer? tokenizer = options.Tokenizer is null ? null : TokenizerLoader.Load(options.Tokenizer);
        Tokenizer = tokenizer;
        PadId = options.PadId ?? tokenizer?.SpecialTokens.Padding ?? 0;
        _requirements = new DataRequirements
        {
            Task = task,
            NeedsTokens = model.NeedsTokens,
            VocabularySize = model.VocabularySize,
            ClassCount = model.ClassCount,
            MaxLength = options.MaxLength,
            Tokenizer = tokenizer,
            AppendEndOfSequence = options.AppendEos,
            OtherInputs = model.OtherInputs,
        };
    }

    /// <summary>Turns text into ids and back; null if the data are ids.</summary>
    internal ITextTokenizer? Tokenizer { get; }

    /// <summary>Token id in padded places.</summary>
    internal long PadId { get; }

    internal IReadOnlyList<TrainingExample> Read(string path) => DataFile.Read(path, _requirements);
}

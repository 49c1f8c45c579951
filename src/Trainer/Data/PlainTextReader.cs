using System.Text;
using OrtQLoRA.Trainer.Configuration;

namespace OrtQLoRA.Trainer.Data;

/// <summary>
/// Reads plain text for causal language modelling: the whole file becomes tokens, which are cut into blocks of
/// <see cref="DataRequirements.MaxLength"/>. The last block may be shorter.
/// </summary>
internal static class PlainTextReader
{
    /// <summary>Tokens of a block if no length was asked for.</summary>
    internal const int DefaultBlockLength = 256;

    internal static IReadOnlyList<TrainingExample> Read(string path, DataRequirements requirements)
    {
        if (requirements.Task != TrainingTask.CausalLm)
        {
            throw new TrainingDataException(
                $"The data file '{path}' is plain text, which holds no labels; for this task give a table or JSON lines such as {{\"text\": \"...\", \"label\": 0}}.");
        }

        SourceLine start = new(path, 1);
        string text;
        try
        {
            using StreamReader reader = DataFile.OpenText(path);
            text = reader.ReadToEnd();
        }
        catch (DecoderFallbackException e)
        {
            throw new TrainingDataException($"The data file '{path}' is not UTF-8: {e.Message}", e);
        }

        if (string.IsNullOrWhiteSpace(text))
        {
            return [];
        }

        long[] ids = new TextEncoder(requirements with { MaxLength = null }).Encode(text, start);
        int block = requirements.MaxLength ?? DefaultBlockLength;
        List<TrainingExample> examples = [];
        for (int first = 0; first < ids.Length; first += block)
        {
            long[] part = ids[first..Math.Min(ids.Length, first + block)];
            if (part.Length > 1 || examples.Count == 0)
            {
                examples.Add(new TrainingExample { Source = start, InputIds = part });
            }
        }

        return examples;
    }
}

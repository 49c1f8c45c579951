using System.Text;
using System.Text.Json;
using OrtQLoRA.Graph.IO;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Data;
using OrtQLoRA.Trainer.Reports;
using OrtQLoRA.Trainer.Runs;
using OrtQLoRA.Trainer.Tokenizers;

namespace OrtQLoRA.Trainer.Training;

/// <summary>
/// Lets the trained model continue the beginnings of examples, for the report: up to the first counted label, or half of the
/// example. Each token runs the whole sequence, so samples are few and short.
/// </summary>
internal sealed class SampleWriter
{
    private const int MostTokens = 32;

    private readonly TrainingSetup _setup;
    private readonly DataCollator _collator;
    private readonly ITextTokenizer? _tokenizer;

    internal SampleWriter(TrainingSetup setup, DataCollator collator, ITextTokenizer? tokenizer)
    {
        _setup = setup;
        _collator = collator;
        _tokenizer = tokenizer;
    }

    /// <summary>Writes <c>samples.jsonl</c>.</summary>
    internal void Write(RunFolder folder, IEnumerable<TrainingExample> examples, int count)
    {
        if (_setup.Task != TrainingTask.CausalLm || count == 0)
        {
            return;
        }

        StringBuilder lines = new();
        foreach (TrainingExample example in examples.Where(e => e.InputIds.Length > 1).Take(count))
        {
            lines.Append(JsonSerializer.Serialize(Continue(example))).Append('\n');
        }

        AtomicFile.Write(folder.SamplesFile, stream => stream.Write(Encoding.UTF8.GetBytes(lines.ToString())));
    }

    private TextSample Continue(TrainingExample example)
    {
        long[] ids = example.InputIds;
        int begin = example.Labels is null ? 0 : Array.FindIndex(example.Labels, l => l != TrainingExample.IgnoreIndex);
        begin = begin > 0 ? begin : Math.Max(1, ids.Length / 2);
        List<long> sequence = [.. ids[..begin]];
        int end = Math.Min(ids.Length, begin + MostTokens);
        while (sequence.Count < end)
        {
            long next = Next(example, [.. sequence]);
            sequence.Add(next);
            if (next == _tokenizer?.SpecialTokens.EndOfSequence)
            {
                break;
            }
        }

        string prompt = Text(ids[..begin]);
        return new TextSample(prompt, Behind(prompt, sequence), Behind(prompt, ids[..end]));
    }

    private long Next(TrainingExample example, long[] sequence)
    {
        Batch batch = _collator.Collate([new TrainingExample { Source = example.Source, InputIds = sequence, OtherInputs = example.OtherInputs }]);
        string output = _setup.Facts.LossOutput;
        DenseTensor logits = _setup.Engine.EvalStep(batch.Inputs, output).Outputs[output];
        int vocabulary = (int)logits.Dims[^1];
        float[] values = new float[vocabulary];
        logits.ReadFloats((long)(sequence.Length - 1) * vocabulary, values);
        return Array.IndexOf(values, values.Max());
    }

    /// <summary>What follows a prompt, decoded together with it, so that spaces between them stay.</summary>
    private string Behind(string prompt, IEnumerable<long> ids)
    {
        string whole = Text(ids);
        return whole.StartsWith(prompt, StringComparison.Ordinal) ? whole[prompt.Length..] : whole;
    }

    private string Text(IEnumerable<long> ids) => _tokenizer is null ? string.Join(' ', ids) : _tokenizer.Decode(ids.Select(i => (int)i));
}

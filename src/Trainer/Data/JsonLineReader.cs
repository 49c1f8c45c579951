using System.Text;
using System.Text.Json;
using OrtQLoRA.Trainer.Configuration;

namespace OrtQLoRA.Trainer.Data;

/// <summary>
/// Reads JSON lines. Keys: <c>text</c> or <c>input_ids</c>, <c>attention_mask</c>, <c>token_type_ids</c>, <c>position_ids</c>,
/// <c>labels</c> (one a token), <c>label</c> (one an example), <c>target</c> (regression), and graph inputs of the model's
/// own by name. Other keys are left alone.
/// </summary>
internal sealed class JsonLineReader
{
    private readonly DataRequirements _requirements;

    internal JsonLineReader(DataRequirements requirements)
    {
        _requirements = requirements;
    }

    internal IEnumerable<TrainingExample> Read(string path)
    {
        using StreamReader reader = DataFile.OpenText(path);
        for (long number = 1; ; number++)
        {
            SourceLine source = new(path, number);
            string? line;
            try
            {
                line = reader.ReadLine();
            }
            catch (DecoderFallbackException e)
            {
                throw new TrainingDataException(source, $"the line (or one of the few after it) is not UTF-8: {e.Message}", e);
            }

            if (line is null)
            {
                yield break;
            }

            if (!string.IsNullOrWhiteSpace(line))
            {
                yield return Parse(line, source);
            }
        }
    }

    /// <summary>Reads one line.</summary>
    internal TrainingExample Parse(string line, SourceLine source)
    {
        JsonDocument document;
        try
        {
            document = JsonDocument.Parse(line);
        }
        catch (JsonException e)
        {
            throw new TrainingDataException(source, $"the line is no JSON object: {e.Message}", e);
        }

        using (document)
        {
            if (document.RootElement.ValueKind != JsonValueKind.Object)
            {
                throw new TrainingDataException(
                    source, $"the line holds a JSON {document.RootElement.ValueKind.ToString().ToLowerInvariant()}; each line must be one object, for example {{\"input_ids\": [1, 2]}}.");
            }

            return Parse(new JsonLine(document.RootElement, source));
        }
    }

    private TrainingExample Parse(JsonLine line)
    {
        if (_requirements.Task == TrainingTask.Embedding)
        {
            return new PairReader((value, name) => ReadText(line, value, name)).Read(line);
        }

        long[] ids = ReadIds(line);
        long[]? mask = line.Integers("attention_mask");
        line.RequireRange("attention_mask", mask, 0, 1);
        long[]? segments = line.Integers("token_type_ids");
        line.RequireRange("token_type_ids", segments, 0, long.MaxValue);
        long[]? positions = line.Integers("position_ids");
        line.RequireRange("position_ids", positions, 0, long.MaxValue);
        foreach ((string key, long[]? values) in new[] { ("attention_mask", mask), ("token_type_ids", segments), ("position_ids", positions) })
        {
            line.RequireLength(key, values, ids.Length);
        }

        long[]? labels = PerToken ? ReadTokenLabels(line, ids.Length) : null;
        return new TrainingExample
        {
            Source = line.Source,
            InputIds = Cut(ids)!,
            AttentionMask = Cut(mask),
            TokenTypeIds = Cut(segments),
            PositionIds = Cut(positions),
            Labels = Cut(labels),
            Label = _requirements.Task == TrainingTask.SequenceClassification ? ReadClass(line) : null,
            Target = _requirements.Task == TrainingTask.Regression ? ReadTarget(line) : null,
            OtherInputs = _requirements.OtherInputs.ToDictionary(n => n, line.Tensor),
        };
    }

    private bool PerToken => _requirements.Task is TrainingTask.CausalLm or TrainingTask.TokenClassification;

    private long[] ReadIds(JsonLine line)
    {
        if (!_requirements.NeedsTokens)
        {
            return [];
        }

        long[]? ids = line.Integers("input_ids");
        if (ids is null)
        {
            string text = line.Text("text") ?? throw line.Error(
                $"the line has neither \"input_ids\" nor \"text\"; its keys are {line.KeyList}.");
            ids = TextEncoding.Encode(text, _requirements, line.Source);
        }

        return Checked(line, "input_ids", ids);
    }

    /// <summary>One side of a pair: a text or token ids.</summary>
    private TrainingExample ReadText(JsonLine line, JsonElement value, string name)
    {
        long[] ids = value.ValueKind == JsonValueKind.String
            ? TextEncoding.Encode(value.GetString()!, _requirements, line.Source)
            : line.Integers(name, value);
        return new TrainingExample { Source = line.Source, InputIds = Cut(Checked(line, name, ids))! };
    }

    private long[] Checked(JsonLine line, string key, long[] ids)
    {
        if (ids.Length == 0)
        {
            throw line.Error("the line holds no token; remove it or give it at least one.");
        }

        if (_requirements.VocabularySize is long size)
        {
            line.RequireRange(key, ids, 0, size - 1, $"the model's vocabulary of {size} tokens");
        }

        return ids;
    }

    private long[]? ReadTokenLabels(JsonLine line, int length)
    {
        long[]? labels = line.Integers("labels");
        if (labels is null)
        {
            return _requirements.Task == TrainingTask.CausalLm
                ? null
                : throw line.Error($"the line has no \"labels\", one class a token (-100 where none counts); its keys are {line.KeyList}.");
        }

        line.RequireLength("labels", labels, length);
        long last = (_requirements.ClassCount ?? long.MaxValue) - 1;
        for (int i = 0; i < labels.Length; i++)
        {
            if (labels[i] != TrainingExample.IgnoreIndex && (labels[i] < 0 || labels[i] > last))
            {
                throw line.Error($"labels[{i}] is {labels[i]}; it must lie in 0 to {last}, or be -100 where nothing counts.");
            }
        }

        return labels;
    }

    private long ReadClass(JsonLine line)
    {
        long label = line.Integer("label") ?? line.Integer("labels")
            ?? throw line.Error($"the line has no \"label\", the class of the example as a number from 0; its keys are {line.KeyList}.");
        long last = (_requirements.ClassCount ?? long.MaxValue) - 1;
        return label >= 0 && label <= last
            ? label
            : throw line.Error($"the label is {label}; the model has {last + 1} classes, so it must lie in 0 to {last}.");
    }

    private static ExampleTensor ReadTarget(JsonLine line) =>
        line.TensorOrNull("target") ?? line.TensorOrNull("label") ?? line.TensorOrNull("labels")
        ?? throw line.Error($"the line has no \"target\", the number (or list of numbers) to reach; its keys are {line.KeyList}.");

    private long[]? Cut(long[]? values) =>
        _requirements.MaxLength is int length && values?.Length > length ? values[..length] : values;
}

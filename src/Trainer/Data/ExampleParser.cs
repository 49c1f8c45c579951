using System.Text.Json;
using OrtQLoRA.Trainer.Chat;
using OrtQLoRA.Trainer.Configuration;

namespace OrtQLoRA.Trainer.Data;

/// <summary>
/// Makes examples of records. Roles of columns: <c>input_ids</c>, or <c>messages</c>, <c>prompt</c> and <c>completion</c>,
/// <c>text</c> (with <c>text_pair</c>), <c>sentence</c>, <c>sentence1</c> and <c>sentence2</c>; <c>attention_mask</c>,
/// <c>token_type_ids</c>, <c>position_ids</c>, <c>labels</c> (one a token), <c>label</c> (one an example), <c>target</c>
/// (regression), and graph inputs of the model's own by name. Other columns are left alone.
/// </summary>
internal sealed class ExampleParser
{
    private readonly DataRequirements _requirements;
    private readonly TextEncoder _encoder;
    private readonly ConversationEncoder _conversations;

    internal ExampleParser(DataRequirements requirements)
    {
        _requirements = requirements;
        _encoder = new TextEncoder(requirements);
        _conversations = new ConversationEncoder(requirements, _encoder);
    }

    /// <summary>Makes an example.</summary>
    /// <exception cref="TrainingDataException">The record does not fit model or task.</exception>
    /// <exception cref="ExampleTooLongException">The record is longer than <see cref="DataRequirements.MaxLength"/> and may not be cut.</exception>
    internal TrainingExample Parse(DataRecord line)
    {
        if (_requirements.Task == TrainingTask.Embedding)
        {
            return new PairReader((value, name) => ReadText(line, value, name)).Read(line);
        }

        EncodedText text = ReadTokens(line);
        long[] ids = text.Ids;
        long[]? mask = line.Integers("attention_mask");
        line.RequireRange("attention_mask", mask, 0, 1);
        long[]? segments = line.Integers("token_type_ids") ?? text.TypeIds;
        line.RequireRange("token_type_ids", segments, 0, long.MaxValue);
        long[]? positions = line.Integers("position_ids");
        line.RequireRange("position_ids", positions, 0, long.MaxValue);
        foreach ((string key, long[]? values) in new[] { ("attention_mask", mask), ("token_type_ids", segments), ("position_ids", positions) })
        {
            line.RequireLength(key, values, ids.Length);
        }

        long[]? labels = PerToken ? text.Labels ?? ReadTokenLabels(line, HasDecoder || !_requirements.NeedsTokens ? null : ids.Length) : null;
        long[]? decoderIds = HasDecoder && labels is not null ? ReadDecoderInputs(line, labels) : null;
        Range kept = Kept(line.Source, ids.Length);
        return new TrainingExample
        {
            Source = line.Source,
            InputIds = ids[kept],
            AttentionMask = mask?[kept],
            TokenTypeIds = segments?[kept],
            PositionIds = positions?[kept],
            Labels = decoderIds is null && _requirements.NeedsTokens ? labels?[kept] : labels,
            DecoderInputIds = decoderIds,
            Label = _requirements.Task == TrainingTask.SequenceClassification ? ReadClass(line) : null,
            Target = _requirements.Task == TrainingTask.Regression ? ReadTarget(line) : null,
            OtherInputs = _requirements.OtherInputs
                .Where(n => decoderIds is null || n is not (ModelInput.DecoderInputIds or ModelInput.DecoderAttentionMask))
                .ToDictionary(n => n, line.Tensor),
        };
    }

    private bool PerToken => _requirements.Task is TrainingTask.CausalLm or TrainingTask.TokenClassification or TrainingTask.SequenceToSequence;

    private bool HasDecoder => _requirements.Task == TrainingTask.SequenceToSequence && _requirements.OtherInputs.Contains(ModelInput.DecoderInputIds);

    // As encoder-decoder models shift their labels: the start token, then all labels but the last, ignored ones as padding would be read.
    private long[] ReadDecoderInputs(DataRecord line, long[] labels)
    {
        if (line.Integers(ModelInput.DecoderInputIds) is { } given)
        {
            return given.Length == labels.Length
                ? Checked(line, ModelInput.DecoderInputIds, given)
                : throw line.Error($"\"{ModelInput.DecoderInputIds}\" has {given.Length} entries, \"labels\" has {labels.Length}; they must be equal.");
        }

        long start = _requirements.DecoderStartId ?? throw line.Error(
            $"the line has no \"{ModelInput.DecoderInputIds}\", and no config.json beside the model says with which token its decoder starts (decoder_start_token_id), so that they cannot be made of the labels.");
        return [start, .. labels.SkipLast(1).Select(l => l == TrainingExample.IgnoreIndex ? _requirements.PadId : l)];
    }

    private EncodedText ReadTokens(DataRecord line)
    {
        if (!_requirements.NeedsTokens)
        {
            return new EncodedText([]);
        }

        EncodedText text = line.Integers("input_ids") is long[] given ? new EncodedText(given) : ReadText(line);
        return text with { Ids = Checked(line, "input_ids", text.Ids) };
    }

    private EncodedText ReadText(DataRecord line)
    {
        if (line.Structure("messages") is JsonElement messages)
        {
            return _conversations.Encode(line, messages, default);
        }

        if (line.Structure("prompt") is JsonElement prompt && line.Structure("completion") is JsonElement completion)
        {
            return prompt.ValueKind == JsonValueKind.Array && completion.ValueKind == JsonValueKind.Array
                ? _conversations.Encode(line, prompt, completion)
                : _encoder.EncodeCompletion(line.Text("prompt")!, line.Text("completion")!, line.Source);
        }

        if (line.Text("sentence1") is string first && line.Text("sentence2") is string second)
        {
            return _encoder.EncodePair(first, second, line.Source);
        }

        string text = line.Text("text") ?? line.Text("sentence") ?? throw line.Error(
            "the line has neither \"input_ids\" nor \"text\", \"sentence\", \"messages\", or \"prompt\" with \"completion\"; "
            + $"its keys are {line.KeyList}. Say by --columns which is which, for example --columns text=NAME.");
        return line.Text("text_pair") is string pair
            ? _encoder.EncodePair(text, pair, line.Source)
            : new EncodedText(_encoder.Encode(text, line.Source));
    }

    /// <summary>One side of a pair: a text or token ids.</summary>
    private TrainingExample ReadText(DataRecord line, JsonElement value, string name)
    {
        long[] ids = value.ValueKind == JsonValueKind.String
            ? _encoder.Encode(value.GetString()!, line.Source)
            : line.Integers(name, value);
        Checked(line, name, ids);
        return new TrainingExample { Source = line.Source, InputIds = ids[Kept(line.Source, ids.Length)] };
    }

    private long[] Checked(DataRecord line, string key, long[] ids)
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

    // A length that labels must have, or null where they are a sequence of their own.
    private long[]? ReadTokenLabels(DataRecord line, int? length)
    {
        long[]? labels = line.Integers("labels");
        if (labels is null && _requirements.Task == TrainingTask.SequenceToSequence && line.Text("target") is string target)
        {
            labels = _encoder.Encode(target, line.Source);
        }

        if (labels is null)
        {
            return _requirements.Task == TrainingTask.CausalLm
                ? null
                : _requirements.Task == TrainingTask.SequenceToSequence
                ? throw line.Error($"the line has neither \"labels\", the tokens to write (-100 where none counts), nor \"target\", their text; its keys are {line.KeyList}.")
                : throw line.Error($"the line has no \"labels\", one class a token (-100 where none counts); its keys are {line.KeyList}.");
        }

        if (length is { } tokens)
        {
            line.RequireLength("labels", labels, tokens);
        }

        if (labels.Length == 0)
        {
            throw line.Error("\"labels\" is empty; remove the line or give it at least one label.");
        }

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

    private long ReadClass(DataRecord line)
    {
        JsonElement value = line.Structure("label") ?? line.Structure("labels")
            ?? throw line.Error($"the line has no \"label\", the class of the example as a number from 0; its keys are {line.KeyList}.");
        long last = (_requirements.ClassCount ?? long.MaxValue) - 1;
        if (value.ValueKind is JsonValueKind.String or JsonValueKind.True or JsonValueKind.False && _requirements.ClassNames.Count > 0)
        {
            string name = value.ToString();
            int index = _requirements.ClassNames.ToList().FindIndex(n => n.Equals(name, StringComparison.OrdinalIgnoreCase));
            return index >= 0 && index <= last
                ? index
                : throw line.Error($"the label is \"{name}\", which is no class; the classes are {string.Join(", ", _requirements.ClassNames.Take(12))}{(_requirements.ClassNames.Count > 12 ? ", ..." : "")}.");
        }

        long label = value.ValueKind == JsonValueKind.Number && value.TryGetInt64(out long number)
            ? number
            : throw line.Error(
                $"the label is {value.GetRawText()}; it must be a whole number, the class{(last < long.MaxValue - 1 ? $" from 0 to {last}" : "")}, or a name that --labels lists.");
        return label >= 0 && label <= last
            ? label
            : throw line.Error($"the label is {label}; the model has {last + 1} classes, so it must lie in 0 to {last}.");
    }

    private static ExampleTensor ReadTarget(DataRecord line) =>
        line.TensorOrNull("target") ?? line.TensorOrNull("label") ?? line.TensorOrNull("labels")
        ?? throw line.Error($"the line has no \"target\", the number (or list of numbers) to reach; its keys are {line.KeyList}.");

    /// <summary>What is left of a record after cutting.</summary>
    private Range Kept(SourceLine source, int length)
    {
        int? limit = _requirements.MaxLength;
        int kept = length;
        if (length > limit)
        {
            if (_requirements.Truncation is TruncationPolicy.Drop or TruncationPolicy.Error)
            {
                throw new ExampleTooLongException(source, $"the line has {length} tokens, more than --max-length {limit}; --truncation right cuts it, --truncation drop leaves it out.");
            }

            kept = limit.Value;
        }

        if (kept > _requirements.ContextLength)
        {
            throw new ExampleTooLongException(
                source,
                $"the line has {kept} tokens, but the model's context holds {_requirements.ContextLength}; cut lines with --max-length {_requirements.ContextLength}"
                + (_requirements.Truncation == TruncationPolicy.Drop ? "." : ", or leave them out with --truncation drop."));
        }

        return _requirements.Truncation == TruncationPolicy.Left ? (length - kept)..length : 0..kept;
    }
}

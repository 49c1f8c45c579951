using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Tokenizers;
using OrtQLoRA.Trainer.Tokenizers.HuggingFace;

namespace OrtQLoRA.Trainer.Data;

/// <summary>Turns texts, pairs of texts and prompts with completions into checked token ids.</summary>
internal sealed class TextEncoder
{
    private readonly DataRequirements _requirements;

    internal TextEncoder(DataRequirements requirements)
    {
        _requirements = requirements;
    }

    /// <summary>A text; what is too long is cut inside the special tokens around it.</summary>
    internal long[] Encode(string text, SourceLine source)
    {
        ITextTokenizer tokenizer = Tokenizer(source);
        List<int> ids = [.. tokenizer.Encode(text)];
        if (_requirements.AppendEndOfSequence)
        {
            ids.Add(EndOf(tokenizer, source));
        }
        else if (_requirements.Truncation == TruncationPolicy.Right && ids.Count > _requirements.MaxLength)
        {
            ids = CutInside(tokenizer, text, ids, _requirements.MaxLength.Value);
        }

        return Checked(ids, tokenizer, source);
    }

    /// <summary>Two texts in one sequence, the longer one cut first.</summary>
    internal EncodedText EncodePair(string first, string second, SourceLine source)
    {
        ITextTokenizer tokenizer = Tokenizer(source);
        if (tokenizer is not PipelineTokenizer pipeline)
        {
            throw new TrainingDataException(source, "there are two texts, but the tokenizer knows no form for pairs; join them in one column, or give a tokenizer.json or vocab.txt.");
        }

        int? length = _requirements.Truncation == TruncationPolicy.Right ? _requirements.MaxLength : null;
        (int[] ids, int[] typeIds) = pipeline.EncodePair(first, second, length);
        return new EncodedText(Checked(ids, tokenizer, source), Array.ConvertAll(typeIds, t => (long)t));
    }

    /// <summary>A prompt and its completion, ended by the end-of-sequence token where there is one.</summary>
    internal EncodedText EncodeCompletion(string prompt, string completion, SourceLine source)
    {
        ITextTokenizer tokenizer = Tokenizer(source);
        List<int> ids = [.. WithoutEnd(tokenizer, tokenizer.Encode(prompt + completion))];
        int start = CommonLength(tokenizer.Encode(prompt), ids);
        if (tokenizer.SpecialTokens.EndOfSequence is int end && (ids.Count == 0 || ids[^1] != end))
        {
            ids.Add(end);
        }

        long[] all = Checked(ids, tokenizer, source);
        return new EncodedText(all, null, _requirements.LossOn == LossTokens.All ? null : Labels(all, [(start, all.Length)]));
    }

    /// <summary>A text that holds its own special tokens, of which some parts count.</summary>
    /// <param name="text">The text.</param>
    /// <param name="counted">Parts that count, from and to which character, in order; null for all.</param>
    /// <param name="source">For messages.</param>
    internal EncodedText EncodeTemplated(string text, IReadOnlyList<(int Start, int End)>? counted, SourceLine source)
    {
        ITextTokenizer tokenizer = Tokenizer(source);
        int[] ids = tokenizer.Encode(text, addSpecialTokens: false);
        long[] all = Checked(ids, tokenizer, source);
        return new EncodedText(all, null, counted is null ? null : Labels(all, counted.Select(c => (TokensBefore(tokenizer, text, ids, c.Start), TokensBefore(tokenizer, text, ids, c.End)))));
    }

    /// <summary>How many tokens end before a character: as many as agree with those of the text up to it.</summary>
    private static int TokensBefore(ITextTokenizer tokenizer, string text, int[] ids, int character) => character == text.Length
        ? ids.Length
        : CommonLength(tokenizer.Encode(text[..character], addSpecialTokens: false), ids);

    private static int CommonLength(IReadOnlyList<int> prefix, IReadOnlyList<int> ids)
    {
        int length = 0;
        while (length < prefix.Count && length < ids.Count && prefix[length] == ids[length])
        {
            length++;
        }

        return length;
    }

    private static long[] Labels(long[] ids, IEnumerable<(int Start, int End)> counted)
    {
        long[] labels = new long[ids.Length];
        Array.Fill(labels, TrainingExample.IgnoreIndex);
        foreach ((int start, int end) in counted)
        {
            ids.AsSpan(start..end).CopyTo(labels.AsSpan(start));
        }

        return labels;
    }

    /// <summary>Drops a separator or end token that the tokenizer puts behind every text: more is to follow.</summary>
    private static IEnumerable<int> WithoutEnd(ITextTokenizer tokenizer, int[] ids) =>
        ids.Length > 0 && ids[^1] == tokenizer.SpecialTokens.EndOfSequence ? ids.Take(ids.Length - 1) : ids;

    private static List<int> CutInside(ITextTokenizer tokenizer, string text, List<int> ids, int length)
    {
        int[] bare = tokenizer.Encode(text, addSpecialTokens: false);
        int around = ids.Count - bare.Length;
        int before = Enumerable.Range(0, around + 1).FirstOrDefault(b => ids.Skip(b).Take(bare.Length).SequenceEqual(bare), around);
        int behind = around - before;
        return around >= length || behind == 0 ? ids : [.. ids[..(length - behind)], .. ids[^behind..]];
    }

    private ITextTokenizer Tokenizer(SourceLine source) => _requirements.Tokenizer
        ?? throw new TrainingDataException(source, "the line holds text, but no tokenizer was given: pass --tokenizer, or write \"input_ids\" instead.");

    private static int EndOf(ITextTokenizer tokenizer, SourceLine source) => tokenizer.SpecialTokens.EndOfSequence
        ?? throw new TrainingDataException(source, "the tokenizer has no end-of-sequence token to append to the text.");

    private long[] Checked(IReadOnlyList<int> ids, ITextTokenizer tokenizer, SourceLine source)
    {
        long[] all = new long[ids.Count];
        for (int i = 0; i < all.Length; i++)
        {
            all[i] = ids[i];
            if (_requirements.VocabularySize is long size && all[i] >= size)
            {
                throw new TrainingDataException(
                    source,
                    $"the tokenizer made id {all[i]}, which lies outside the model's vocabulary (0 to {size - 1}); the tokenizer "
                    + $"({tokenizer.VocabularySize} ids) does not belong to this model.");
            }
        }

        return all;
    }
}

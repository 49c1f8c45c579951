using OrtQLoRA.Trainer.Tokenizers.HuggingFace.Models;
using OrtQLoRA.Trainer.Tokenizers.HuggingFace.PostProcessors;
using OrtQLoRA.Trainer.Tokenizers.HuggingFace.PreTokenizers;

namespace OrtQLoRA.Trainer.Tokenizers.HuggingFace;

/// <summary>
/// A tokenizer of the stages that Hugging Face's tokenizer.json describes: added tokens, normalizer, pre-tokenizer, model,
/// post-processor; and a decoder for the way back.
/// </summary>
public sealed class PipelineTokenizer : ITextTokenizer
{
    private readonly ITokenModel _model;
    private readonly Dictionary<int, AddedToken> _added;
    private readonly AddedTokenSplitter _rawTokens;
    private readonly AddedTokenSplitter _normalizedTokens;

    internal PipelineTokenizer(ITokenModel model, IReadOnlyCollection<AddedToken> addedTokens)
    {
        _model = model;
        _added = addedTokens.DistinctBy(t => t.Id).ToDictionary(t => t.Id);
        _rawTokens = new AddedTokenSplitter(addedTokens.Where(t => !t.IsNormalized));
        _normalizedTokens = new AddedTokenSplitter(addedTokens.Where(t => t.IsNormalized));
        VocabularySize = Math.Max(model.VocabularySize, addedTokens.Select(t => t.Id + 1).DefaultIfEmpty().Max());
    }

    /// <inheritdoc/>
    public int VocabularySize { get; }

    /// <inheritdoc/>
    public SpecialTokens SpecialTokens { get; internal init; } = new();

    /// <summary>Ids that decoding leaves out on request although no text holds them.</summary>
    internal IReadOnlySet<int> ControlIds { get; init; } = new HashSet<int>();

    internal Func<string, string> Normalizer { get; init; } = text => text;

    internal PreTokenizer PreTokenizer { get; init; } = (text, _) => [text];

    internal TemplatePostProcessor PostProcessor { get; init; } = TemplatePostProcessor.None;

    internal Func<IReadOnlyList<string>, IReadOnlyList<string>> Decoder { get; init; } = tokens => [string.Join(' ', tokens)];

    /// <inheritdoc/>
    public int[] Encode(string text, bool addSpecialTokens = true)
    {
        List<int> ids = EncodeText(text);
        return addSpecialTokens ? TemplatePostProcessor.Apply(PostProcessor.Single, ids).Ids : [.. ids];
    }

    /// <summary>Turns two texts into one sequence, such as a question and its context.</summary>
    /// <param name="first">The first text.</param>
    /// <param name="second">The second text.</param>
    /// <param name="maxLength">Tokens to which the pair is cut, the longer text first; null does not cut.</param>
    /// <returns>The ids with the special tokens around them, and for each the segment, 0 or 1, it belongs to (<c>token_type_ids</c>).</returns>
    public (int[] Ids, int[] TypeIds) EncodePair(string first, string second, int? maxLength = null)
    {
        List<int> a = EncodeText(first);
        List<int> b = EncodeText(second);
        int around = PostProcessor.Pair.Sum(p => p.Tokens.Count);
        while (around + a.Count + b.Count > maxLength && a.Count + b.Count > 0)
        {
            List<int> longer = a.Count > b.Count ? a : b;
            longer.RemoveAt(longer.Count - 1);
        }

        return TemplatePostProcessor.Apply(PostProcessor.Pair, a, b);
    }

    /// <inheritdoc/>
    public string Decode(IEnumerable<int> ids, bool skipSpecialTokens = true)
    {
        List<string> tokens = [];
        foreach (int id in ids)
        {
            ArgumentOutOfRangeException.ThrowIfNegative(id, nameof(ids));
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(id, VocabularySize, nameof(ids));
            _added.TryGetValue(id, out AddedToken? added);
            string? token = added?.Content ?? _model.TokenOf(id);
            if (token is not null && !(skipSpecialTokens && (added is { IsSpecial: true } || ControlIds.Contains(id))))
            {
                tokens.Add(token);
            }
        }

        return string.Concat(Decoder(tokens));
    }

    private List<int> EncodeText(string text)
    {
        List<int> ids = [];
        bool isFirst = true;
        foreach ((string raw, AddedToken? rawToken) in _rawTokens.Split(text))
        {
            if (rawToken is not null)
            {
                ids.Add(rawToken.Id);
                isFirst = false;
                continue;
            }

            foreach ((string piece, AddedToken? token) in _normalizedTokens.Split(Normalizer(raw)))
            {
                if (token is not null)
                {
                    ids.Add(token.Id);
                }
                else
                {
                    foreach (string word in PreTokenizer(piece, isFirst))
                    {
                        _model.Encode(word, ids);
                    }
                }

                isFirst = false;
            }
        }

        return ids;
    }
}

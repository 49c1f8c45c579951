using System.Globalization;
using System.Text;
using OrtQLoRA.Graph;

namespace OrtQLoRA.Trainer.Tokenizers.HuggingFace.Models;

/// <summary>
/// The unigram language model of Kudo (2018): of all ways to split a text into tokens the one whose log probabilities have the
/// largest sum. A character that no token begins with costs 10 more than the least likely token.
/// </summary>
internal sealed class UnigramModel : ITokenModel
{
    private const double UnknownPenalty = 10;

    private readonly string[] _tokens;
    private readonly double[] _scores;
    private readonly Dictionary<string, int> _ids = new(StringComparer.Ordinal);
    private readonly Dictionary<string, int> _idsInTexts = new(StringComparer.Ordinal);
    private readonly int _longest;
    private readonly double _unknownScore;
    private readonly string _source;
    private readonly int[]? _byteIds;

    /// <param name="pieces">Tokens with their log probabilities; the place in the list is the id.</param>
    /// <param name="unknownId">Id of the unknown token, if there is one.</param>
    /// <param name="byteFallback">Whether unknown characters become tokens of their bytes, <c>&lt;0x0A&gt;</c>.</param>
    /// <param name="source">Name of the file for messages.</param>
    /// <param name="isInTexts">Whether a token is looked for in texts, by id; null for all tokens.</param>
    /// <exception cref="ModelFormatException">There is no token, or the unknown one lies outside the list.</exception>
    public UnigramModel(IReadOnlyList<(string Token, double Score)> pieces, int? unknownId, bool byteFallback, string source, Func<int, bool>? isInTexts = null)
    {
        _source = source;
        _tokens = [.. pieces.Select(p => p.Token)];
        _scores = [.. pieces.Select(p => p.Score)];
        if (_tokens.Length == 0 || unknownId < 0 || unknownId >= _tokens.Length)
        {
            throw new ModelFormatException(_tokens.Length == 0
                ? $"'{source}' holds no token; use the vocabulary that belongs to the model."
                : $"'{source}': 'unk_id' is {unknownId}, but ids run from 0 to {_tokens.Length - 1}.");
        }

        double least = 0;
        for (int id = 0; id < _tokens.Length; id++)
        {
            _ids[_tokens[id]] = id;
            if (isInTexts?.Invoke(id) ?? true)
            {
                _idsInTexts[_tokens[id]] = id;
                _longest = Math.Max(_longest, _tokens[id].Length);
                least = Math.Min(least, _scores[id]);
            }
        }

        UnknownId = unknownId;
        _unknownScore = least - UnknownPenalty;
        int?[] bytes = [.. Enumerable.Range(0, 256).Select(b => IdOf(string.Create(CultureInfo.InvariantCulture, $"<0x{b:X2}>")))];
        _byteIds = byteFallback && bytes.All(b => b is not null) ? [.. bytes.Select(b => b!.Value)] : null;
    }

    public int VocabularySize => _tokens.Length;

    public int? UnknownId { get; }

    public void Encode(string word, List<int> ids)
    {
        List<(int Start, int End, int Id)> path = BestPath(word);
        for (int i = 0; i < path.Count; i++)
        {
            if (path[i].Id >= 0)
            {
                ids.Add(path[i].Id);
                continue;
            }

            // Unknown characters side by side are one unknown token.
            int first = i;
            while (i + 1 < path.Count && path[i + 1].Id < 0)
            {
                i++;
            }

            AddUnknown(word[path[first].Start..path[i].End], ids);
        }
    }

    public string? TokenOf(int id) => id >= 0 && id < _tokens.Length ? _tokens[id] : null;

    public int? IdOf(string token) => _ids.TryGetValue(token, out int id) ? id : null;

    /// <summary>The tokens of the best path, -1 for a character that is none.</summary>
    private List<(int Start, int End, int Id)> BestPath(string word)
    {
        (double Score, int Start, int Id)[] best = new (double, int, int)[word.Length + 1];
        Array.Fill(best, (double.NegativeInfinity, -1, -1));
        best[0].Score = 0;
        Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> lookup = _idsInTexts.GetAlternateLookup<ReadOnlySpan<char>>();
        for (int start = 0; start < word.Length;)
        {
            int character = char.IsSurrogatePair(word, start) ? 2 : 1;
            bool isKnown = false;
            for (int length = 1; length <= _longest && start + length <= word.Length; length++)
            {
                if (lookup.TryGetValue(word.AsSpan(start, length), out int id))
                {
                    Offer(start + length, best[start].Score + _scores[id], start, id);
                    isKnown |= length == character;
                }
            }

            if (!isKnown)
            {
                Offer(start + character, best[start].Score + _unknownScore, start, -1);
            }

            start += character;
        }

        List<(int, int, int)> path = [];
        for (int end = word.Length; end > 0; end = best[end].Start)
        {
            path.Add((best[end].Start, end, best[end].Id));
        }

        path.Reverse();
        return path;

        void Offer(int end, double score, int start, int id)
        {
            if (best[end].Start < 0 || score > best[end].Score)
            {
                best[end] = (score, start, id);
            }
        }
    }

    private void AddUnknown(string text, List<int> ids)
    {
        if (_byteIds is not null)
        {
            ids.AddRange(Encoding.UTF8.GetBytes(text).Select(b => _byteIds[b]));
            return;
        }

        ids.Add(UnknownId ?? throw new ModelFormatException(
            $"'{_source}' has no token for '{text}', and its 'unk_id' names no unknown token; use the vocabulary that belongs to the model."));
    }
}

using System.Globalization;
using System.Text;
using OrtQLoRA.Graph;
using OrtQLoRA.Trainer.Tokenizers.HuggingFace.Models;

namespace OrtQLoRA.Trainer.Tokenizers.SentencePiece;

/// <summary>
/// SentencePiece's byte-pair encoding: two neighbours merge wherever both together are a token, the token of the highest score first,
/// of equals the leftmost.
/// </summary>
internal sealed class ScoredMergeModel : ITokenModel
{
    private readonly IReadOnlyList<SentencePiece> _pieces;
    private readonly Dictionary<string, int> _ids = new(StringComparer.Ordinal);
    private readonly Dictionary<string, int> _idsInTexts = new(StringComparer.Ordinal);
    private readonly int[]? _byteIds;
    private readonly string _source;

    /// <param name="pieces">Tokens; the place in the list is the id.</param>
    /// <param name="unknownId">Id of the unknown token, if there is one.</param>
    /// <param name="byteFallback">Whether unknown characters become tokens of their bytes.</param>
    /// <param name="source">Name of the file for messages.</param>
    public ScoredMergeModel(IReadOnlyList<SentencePiece> pieces, int? unknownId, bool byteFallback, string source)
    {
        _pieces = pieces;
        _source = source;
        UnknownId = unknownId;
        foreach ((int id, SentencePiece piece) in pieces.Index())
        {
            _ids[piece.Text] = id;
            if (piece.IsInTexts)
            {
                _idsInTexts[piece.Text] = id;
            }
        }

        int?[] bytes = [.. Enumerable.Range(0, 256).Select(b => IdOf(string.Create(CultureInfo.InvariantCulture, $"<0x{b:X2}>")))];
        _byteIds = byteFallback && bytes.All(b => b is not null) ? [.. bytes.Select(b => b!.Value)] : null;
    }

    public int VocabularySize => _pieces.Count;

    public int? UnknownId { get; }

    public void Encode(string word, List<int> ids)
    {
        bool lastWasUnknown = false;
        foreach ((int start, int end) in Merge(word))
        {
            bool isUnknown = !_idsInTexts.TryGetValue(word[start..end], out int id);
            if (!isUnknown)
            {
                ids.Add(id);
            }
            else if (_byteIds is not null)
            {
                ids.AddRange(Encoding.UTF8.GetBytes(word[start..end]).Select(b => _byteIds[b]));
            }
            else if (!lastWasUnknown)
            {
                ids.Add(UnknownId ?? throw new ModelFormatException(
                    $"'{_source}' has no token for '{word[start..end]}' and no unknown token; use the tokenizer that belongs to the model."));
            }

            lastWasUnknown = isUnknown;
        }
    }

    public string? TokenOf(int id) => id >= 0 && id < _pieces.Count ? _pieces[id].Text : null;

    public int? IdOf(string token) => _ids.TryGetValue(token, out int id) ? id : null;

    private List<(int Start, int End)> Merge(string word)
    {
        // A symbol begins at each place whose end is not 0; the one before it ends there.
        int[] ends = new int[word.Length + 1];
        int[] starts = new int[word.Length + 1];
        for (int i = 0; i < word.Length;)
        {
            int end = i + (char.IsSurrogatePair(word, i) ? 2 : 1);
            (ends[i], starts[end]) = (end, i);
            i = end;
        }

        Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> lookup = _idsInTexts.GetAlternateLookup<ReadOnlySpan<char>>();
        PriorityQueue<(int Start, int Middle, int End), (float Score, int Start)> queue = new(HighestScoreThenLeftmost);
        for (int i = 0; i < word.Length; i = ends[i])
        {
            Offer(i);
        }

        while (queue.TryDequeue(out (int Start, int Middle, int End) pair, out _))
        {
            if (ends[pair.Start] != pair.Middle || ends[pair.Middle] != pair.End)
            {
                continue;
            }

            ends[pair.Middle] = 0;
            (ends[pair.Start], starts[pair.End]) = (pair.End, pair.Start);
            Offer(pair.Start);
            if (pair.Start > 0)
            {
                Offer(starts[pair.Start]);
            }
        }

        List<(int, int)> symbols = [];
        for (int i = 0; i < word.Length; i = ends[i])
        {
            symbols.Add((i, ends[i]));
        }

        return symbols;

        void Offer(int start)
        {
            int middle = ends[start];
            if (middle < word.Length && lookup.TryGetValue(word.AsSpan(start, ends[middle] - start), out int id))
            {
                queue.Enqueue((start, middle, ends[middle]), (_pieces[id].Score, start));
            }
        }
    }

    private static Comparer<(float Score, int Start)> HighestScoreThenLeftmost { get; } = Comparer<(float Score, int Start)>.Create(
        (a, b) => a.Score != b.Score ? b.Score.CompareTo(a.Score) : a.Start.CompareTo(b.Start));
}

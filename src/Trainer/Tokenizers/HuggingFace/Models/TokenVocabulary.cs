using OrtQLoRA.Graph;

namespace OrtQLoRA.Trainer.Tokenizers.HuggingFace.Models;

/// <summary>Tokens and their ids, both ways. Of a token that stands twice, the last id counts, as in Hugging Face's reader.</summary>
internal sealed class TokenVocabulary
{
    private readonly Dictionary<string, int> _ids;
    private readonly Dictionary<int, string> _tokens = [];

    /// <param name="entries">Tokens with their ids.</param>
    /// <param name="source">Name of the file for messages.</param>
    /// <exception cref="ModelFormatException">An id is out of range, or there is no token.</exception>
    public TokenVocabulary(IEnumerable<KeyValuePair<string, int>> entries, string source)
    {
        _ids = new Dictionary<string, int>(StringComparer.Ordinal);
        foreach ((string token, int id) in entries)
        {
            if (id is < 0 or int.MaxValue)
            {
                throw new ModelFormatException($"'{source}': token '{token}' has id {id}; ids run from 0 to the vocabulary's size - 1.");
            }

            _ids[token] = id;
            _tokens[id] = token;
            Size = Math.Max(Size, id + 1);
        }

        if (Size == 0)
        {
            throw new ModelFormatException($"'{source}' holds no token; use the vocabulary that belongs to the model.");
        }
    }

    /// <summary>One more than the highest id.</summary>
    public int Size { get; }

    public Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> SpanLookup => _ids.GetAlternateLookup<ReadOnlySpan<char>>();

    public string? TokenOf(int id) => _tokens.GetValueOrDefault(id);

    public int? IdOf(string token) => _ids.TryGetValue(token, out int id) ? id : null;
}

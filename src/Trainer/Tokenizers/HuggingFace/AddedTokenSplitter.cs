using System.Text.RegularExpressions;

namespace OrtQLoRA.Trainer.Tokenizers.HuggingFace;

/// <summary>Cuts text at added tokens: of those that begin at one place, the longest counts.</summary>
internal sealed class AddedTokenSplitter
{
    private readonly Dictionary<string, AddedToken> _tokens;
    private readonly Regex? _pattern;

    public AddedTokenSplitter(IEnumerable<AddedToken> tokens)
    {
        _tokens = tokens.Where(t => t.Content.Length > 0).DistinctBy(t => t.Content).ToDictionary(t => t.Content, StringComparer.Ordinal);
        if (_tokens.Count > 0)
        {
            IEnumerable<string> alternatives = _tokens.Keys.OrderByDescending(c => c.Length).ThenBy(c => c, StringComparer.Ordinal).Select(Regex.Escape);
            _pattern = new Regex(string.Join('|', alternatives), RegexOptions.CultureInvariant);
        }
    }

    /// <summary>Yields the pieces of a text in order: text between tokens (never empty), or a token.</summary>
    public IEnumerable<(string Text, AddedToken? Token)> Split(string text)
    {
        int done = 0;
        for (Match? match = _pattern?.Match(text); match is { Success: true }; match = match.NextMatch())
        {
            AddedToken token = _tokens[match.Value];
            int start = match.Index;
            int end = start + match.Length;
            if (start < done || (token.IsSingleWord && ((start > 0 && IsWord(text[start - 1])) || (end < text.Length && IsWord(text[end])))))
            {
                continue;
            }

            while (token.StripsLeft && start > done && char.IsWhiteSpace(text[start - 1]))
            {
                start--;
            }

            while (token.StripsRight && end < text.Length && char.IsWhiteSpace(text[end]))
            {
                end++;
            }

            if (start > done)
            {
                yield return (text[done..start], null);
            }

            yield return (text[start..end], token);
            done = end;
        }

        if (done < text.Length)
        {
            yield return (text[done..], null);
        }
    }

    private static bool IsWord(char c) => char.IsLetterOrDigit(c) || c == '_';
}

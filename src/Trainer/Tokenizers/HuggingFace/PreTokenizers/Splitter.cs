namespace OrtQLoRA.Trainer.Tokenizers.HuggingFace.PreTokenizers;

/// <summary>Cuts text at the matches of a pattern.</summary>
internal static class Splitter
{
    /// <param name="text">Text to cut.</param>
    /// <param name="pattern">Where to cut.</param>
    /// <param name="behavior">What becomes of the matches.</param>
    /// <param name="inverted">Whether what lies between the matches counts as the match.</param>
    public static IEnumerable<string> Split(string text, TextPattern pattern, SplitBehavior behavior, bool inverted)
    {
        List<(int Start, int End)> words = [];
        bool lastWasMatch = false;
        foreach ((int start, int end, bool isMatch) in Sections(text, pattern, inverted))
        {
            bool joins = behavior switch
            {
                SplitBehavior.MergedWithPrevious => isMatch && !lastWasMatch && words.Count > 0,
                SplitBehavior.MergedWithNext => !isMatch && lastWasMatch,
                SplitBehavior.Contiguous => isMatch && lastWasMatch,
                _ => false,
            };
            if (joins)
            {
                words[^1] = (words[^1].Start, end);
            }
            else if (!(isMatch && behavior == SplitBehavior.Removed))
            {
                words.Add((start, end));
            }

            lastWasMatch = isMatch;
        }

        return words.Select(w => text[w.Start..w.End]);
    }

    private static IEnumerable<(int Start, int End, bool IsMatch)> Sections(string text, TextPattern pattern, bool inverted)
    {
        int done = 0;
        foreach ((int start, int end) in pattern.Matches(text))
        {
            if (start > done)
            {
                yield return (done, start, inverted);
            }

            done = end;
            yield return (start, end, !inverted);
        }

        if (done < text.Length)
        {
            yield return (done, text.Length, inverted);
        }
    }
}

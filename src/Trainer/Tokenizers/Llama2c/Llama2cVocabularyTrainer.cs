using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using OrtQLoRA.Graph;

namespace OrtQLoRA.Trainer.Tokenizers.Llama2c;

/// <summary>
/// Learns a llama2.c vocabulary from text by byte-pair encoding: starting from single characters, the most frequent
/// adjacent pair becomes a token, until the vocabulary is full. Pairs never cross from one word to the next; equal counts go
/// by ordinal order, so the same text gives the same vocabulary.
/// </summary>
public static partial class Llama2cVocabularyTrainer
{
    /// <summary>Learns a vocabulary.</summary>
    /// <param name="texts">Texts as the model will see them.</param>
    /// <param name="vocabularySize">Ids to fill, the 259 special and byte tokens counted. Text with few distinct words fills fewer.</param>
    /// <exception cref="ConfigurationException">The size does not hold the texts' characters.</exception>
    public static IReadOnlyList<VocabularyEntry> Train(IEnumerable<string> texts, int vocabularySize)
    {
        Dictionary<string, long> wordCounts = CountWords(texts);
        Dictionary<string, long> characterCounts = new(StringComparer.Ordinal);
        List<Word> words = [];
        foreach ((string text, long count) in wordCounts.OrderBy(w => w.Key, StringComparer.Ordinal))
        {
            List<string> symbols = [.. text.EnumerateRunes().Select(r => r.ToString())];
            words.Add(new Word(symbols, count));
            foreach (string symbol in symbols)
            {
                characterCounts[symbol] = characterCounts.GetValueOrDefault(symbol) + count;
            }
        }

        int room = vocabularySize - Llama2cTokenizer.FirstTextId - characterCounts.Count;
        if (room < 0)
        {
            throw new ConfigurationException(
                $"A vocabulary of {vocabularySize} is too small: {Llama2cTokenizer.FirstTextId} special and byte tokens and the texts' {characterCounts.Count} characters need {vocabularySize - room}.");
        }

        List<string> merged = LearnMerges(words, room);
        IEnumerable<string> characters = characterCounts
            .OrderByDescending(c => c.Value).ThenBy(c => c.Key, StringComparer.Ordinal)
            .Select(c => c.Key);
        return
        [
            .. ReservedEntries(),
            .. merged.Concat(characters).Select((text, rank) => new VocabularyEntry(Encoding.UTF8.GetBytes(text), -rank)),
        ];
    }

    private static List<string> LearnMerges(List<Word> words, int room)
    {
        Dictionary<(string Left, string Right), PairStatistics> pairs = [];
        for (int i = 0; i < words.Count; i++)
        {
            AddPairs(i);
        }

        List<string> merged = [];
        HashSet<string> known = new(StringComparer.Ordinal);
        while (merged.Count < room && pairs.Count > 0)
        {
            ((string Left, string Right) best, PairStatistics statistics) = pairs.Aggregate((a, b) => IsBetter(b, a) ? b : a);
            if (statistics.Count < 2)
            {
                break;
            }

            // Two ways of splitting a token, such as a+bc and ab+c, are two merges but one token.
            if (known.Add(best.Left + best.Right))
            {
                merged.Add(best.Left + best.Right);
            }

            foreach (int word in statistics.Words.ToArray())
            {
                RemovePairs(word);
                words[word].Merge(best.Left, best.Right);
                AddPairs(word);
            }
        }

        return merged;

        void AddPairs(int word)
        {
            List<string> symbols = words[word].Symbols;
            for (int i = 0; i + 1 < symbols.Count; i++)
            {
                (string, string) pair = (symbols[i], symbols[i + 1]);
                if (!pairs.TryGetValue(pair, out PairStatistics? statistics))
                {
                    pairs.Add(pair, statistics = new PairStatistics());
                }

                statistics.Count += words[word].Count;
                statistics.Words.Add(word);
            }
        }

        void RemovePairs(int word)
        {
            List<string> symbols = words[word].Symbols;
            for (int i = 0; i + 1 < symbols.Count; i++)
            {
                (string, string) pair = (symbols[i], symbols[i + 1]);
                PairStatistics statistics = pairs[pair];
                statistics.Count -= words[word].Count;
                statistics.Words.Remove(word);
                if (statistics.Count == 0)
                {
                    pairs.Remove(pair);
                }
            }
        }
    }

    private static bool IsBetter(
        KeyValuePair<(string Left, string Right), PairStatistics> a, KeyValuePair<(string Left, string Right), PairStatistics> b)
    {
        if (a.Value.Count != b.Value.Count)
        {
            return a.Value.Count > b.Value.Count;
        }

        int left = string.CompareOrdinal(a.Key.Left, b.Key.Left);
        return left != 0 ? left < 0 : string.CompareOrdinal(a.Key.Right, b.Key.Right) < 0;
    }

    private static Dictionary<string, long> CountWords(IEnumerable<string> texts)
    {
        Dictionary<string, long> counts = new(StringComparer.Ordinal);
        foreach (string text in texts)
        {
            // The tokenizer puts a space before the first word, so it counts as the others do.
            string spaced = " " + text;
            foreach (ValueMatch match in WordPattern().EnumerateMatches(spaced))
            {
                string word = spaced.Substring(match.Index, match.Length);
                counts[word] = counts.GetValueOrDefault(word) + 1;
            }
        }

        return counts;
    }

    private static IEnumerable<VocabularyEntry> ReservedEntries()
    {
        // Spelled as llama2.c's own exporter spells them; the line breaks keep text from merging into them.
        string[] special = ["<unk>", "\n<s>\n", "\n</s>\n"];
        IEnumerable<string> bytes = Enumerable.Range(0, 256).Select(b => string.Create(CultureInfo.InvariantCulture, $"<0x{b:X2}>"));
        return special.Concat(bytes).Select(text => new VocabularyEntry(Encoding.UTF8.GetBytes(text), 0));
    }

    // A word with the space before it, one digit, or one other visible character; line breaks and tabs stay bytes.
    [GeneratedRegex(@" ?[\p{L}\p{M}]+| ?\p{N}| ?[^\s\p{C}\p{L}\p{M}\p{N}]| ")]
    private static partial Regex WordPattern();

    private sealed class PairStatistics
    {
        public long Count { get; set; }

        public HashSet<int> Words { get; } = [];
    }

    private sealed class Word(List<string> symbols, long count)
    {
        public List<string> Symbols { get; } = symbols;

        public long Count { get; } = count;

        public void Merge(string left, string right)
        {
            for (int i = 0; i + 1 < Symbols.Count; i++)
            {
                if (Symbols[i] == left && Symbols[i + 1] == right)
                {
                    Symbols[i] = left + right;
                    Symbols.RemoveAt(i + 1);
                }
            }
        }
    }
}

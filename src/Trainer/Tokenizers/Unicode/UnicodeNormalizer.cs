using System.Globalization;
using System.Text;

namespace OrtQLoRA.Trainer.Tokenizers.Unicode;

/// <summary>
/// Unicode's normalization forms (Unicode Standard Annex 15) from a table of the project's own: .NET's are those of the
/// ICU library, which slim containers lack, and without it <see cref="string.Normalize()"/> leaves text as it is.
/// </summary>
public static class UnicodeNormalizer
{
    private const int HangulBase = 0xAC00;
    private const int LeadingBase = 0x1100;
    private const int VowelBase = 0x1161;
    private const int TrailingBase = 0x11A7;
    private const int LeadingCount = 19;
    private const int VowelCount = 21;
    private const int TrailingCount = 28;

    private static readonly Lazy<Tables> Data = new(Tables.Load);

    /// <summary>Text in a normalization form.</summary>
    /// <param name="text">Any text; lone surrogates become U+FFFD.</param>
    /// <param name="form">FormC, FormD, FormKC or FormKD.</param>
    public static string Normalize(string text, NormalizationForm form)
    {
        if (System.Text.Ascii.IsValid(text))
        {
            return text;
        }

        bool compatibility = form is NormalizationForm.FormKC or NormalizationForm.FormKD;
        List<int> codes = new(text.Length);
        foreach (Rune rune in text.EnumerateRunes())
        {
            Decompose(rune.Value, compatibility, codes);
        }

        OrderMarks(codes);
        if (form is NormalizationForm.FormC or NormalizationForm.FormKC)
        {
            Compose(codes);
        }

        StringBuilder result = new(text.Length);
        Span<char> utf16 = stackalloc char[2];
        foreach (int code in codes)
        {
            result.Append(utf16[..new Rune(code).EncodeToUtf16(utf16)]);
        }

        return result.ToString();
    }

    private static void Decompose(int code, bool compatibility, List<int> result)
    {
        int syllable = code - HangulBase;
        if (syllable is >= 0 and < LeadingCount * VowelCount * TrailingCount)
        {
            result.Add(LeadingBase + (syllable / (VowelCount * TrailingCount)));
            result.Add(VowelBase + (syllable / TrailingCount % VowelCount));
            if (syllable % TrailingCount != 0)
            {
                result.Add(TrailingBase + (syllable % TrailingCount));
            }
        }
        else if (Data.Value.Canonical.TryGetValue(code, out int[]? parts)
            || (compatibility && Data.Value.Compatibility.TryGetValue(code, out parts)))
        {
            foreach (int part in parts)
            {
                Decompose(part, compatibility, result);
            }
        }
        else
        {
            result.Add(code);
        }
    }

    /// <summary>Sorts each run of combining marks by class, equal classes in their order.</summary>
    private static void OrderMarks(List<int> codes)
    {
        for (int i = 1; i < codes.Count; i++)
        {
            int mark = codes[i];
            int markClass = ClassOf(mark);
            int j = i;
            for (; markClass != 0 && j > 0 && ClassOf(codes[j - 1]) > markClass; j--)
            {
                codes[j] = codes[j - 1];
            }

            codes[j] = mark;
        }
    }

    /// <summary>Joins each starter with the marks that are not blocked from it.</summary>
    private static void Compose(List<int> codes)
    {
        int starter = -1;
        int lastClass = 0;
        int kept = 0;
        for (int i = 0; i < codes.Count; i++)
        {
            int code = codes[i];
            int codeClass = ClassOf(code);
            bool adjacent = kept == starter + 1;
            if (starter >= 0 && (adjacent || (lastClass < codeClass && lastClass != 0)) && TryCompose(codes[starter], code, out int composed))
            {
                codes[starter] = composed;
                continue;
            }

            if (codeClass == 0)
            {
                starter = kept;
            }

            lastClass = codeClass;
            codes[kept++] = code;
        }

        codes.RemoveRange(kept, codes.Count - kept);
    }

    private static bool TryCompose(int first, int second, out int composed)
    {
        int leading = first - LeadingBase;
        int vowel = second - VowelBase;
        if (leading is >= 0 and < LeadingCount && vowel is >= 0 and < VowelCount)
        {
            composed = HangulBase + (((leading * VowelCount) + vowel) * TrailingCount);
            return true;
        }

        int syllable = first - HangulBase;
        int trailing = second - TrailingBase;
        if (syllable is >= 0 and < LeadingCount * VowelCount * TrailingCount && syllable % TrailingCount == 0 && trailing is > 0 and < TrailingCount)
        {
            composed = first + trailing;
            return true;
        }

        return Data.Value.Compositions.TryGetValue((first, second), out composed);
    }

    private static int ClassOf(int code) => Data.Value.Classes.GetValueOrDefault(code);

    private sealed class Tables
    {
        public Dictionary<int, int> Classes { get; } = [];

        public Dictionary<int, int[]> Canonical { get; } = [];

        public Dictionary<int, int[]> Compatibility { get; } = [];

        public Dictionary<(int First, int Second), int> Compositions { get; } = [];

        public static Tables Load()
        {
            Tables tables = new();
            using Stream stream = typeof(UnicodeNormalizer).Assembly.GetManifestResourceStream(typeof(UnicodeNormalizer), "decompositions.txt")!;
            using StreamReader reader = new(stream);
            while (reader.ReadLine() is { } line)
            {
                int separator = line.IndexOfAny(['#', ':', '=', '~', '!']);
                string key = line[..separator];
                string rest = line[(separator + 1)..];
                switch (line[separator])
                {
                    case ':':
                        int dash = key.IndexOf('-', StringComparison.Ordinal);
                        for (int code = Hex(key[..dash]); code <= Hex(key[(dash + 1)..]); code++)
                        {
                            tables.Classes[code] = int.Parse(rest, CultureInfo.InvariantCulture);
                        }

                        break;
                    case '~':
                        tables.Compatibility[Hex(key)] = Codes(rest);
                        break;
                    case '!':
                        tables.Canonical[Hex(key)] = Codes(rest);
                        break;
                    case '=':
                        int[] parts = Codes(rest);
                        tables.Canonical[Hex(key)] = parts;
                        tables.Compositions[(parts[0], parts[1])] = Hex(key);
                        break;
                }
            }

            return tables;
        }

        private static int[] Codes(string text) => [.. text.Split(' ').Select(Hex)];

        private static int Hex(string text) => int.Parse(text, NumberStyles.HexNumber, CultureInfo.InvariantCulture);
    }
}

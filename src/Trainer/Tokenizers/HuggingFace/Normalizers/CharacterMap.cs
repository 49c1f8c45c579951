using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using OrtQLoRA.Graph;

namespace OrtQLoRA.Trainer.Tokenizers.HuggingFace.Normalizers;

/// <summary>
/// SentencePiece's <c>precompiled_charsmap</c>: what characters are replaced by. Four bytes with the size of a double-array trie, the trie of
/// 32-bit units over UTF-8 bytes, then the replacements, each ended by a zero byte; a trie's value is a place among them.
/// </summary>
internal sealed class CharacterMap
{
    /// <summary>Only clusters of fewer bytes are looked up whole, as in Hugging Face's reader.</summary>
    private const int LongestCluster = 6;

    private readonly uint[] _units;
    private readonly byte[] _replacements;

    private CharacterMap(uint[] units, byte[] replacements)
    {
        _units = units;
        _replacements = replacements;
    }

    /// <summary>Reads a map.</summary>
    /// <param name="blob">The whole map; empty for one that replaces nothing.</param>
    /// <param name="source">Name of the file for messages.</param>
    /// <exception cref="ModelFormatException">Sizes do not fit.</exception>
    public static CharacterMap Read(ReadOnlySpan<byte> blob, string source)
    {
        if (blob.IsEmpty)
        {
            return new CharacterMap([], []);
        }

        uint size = blob.Length < sizeof(uint) ? uint.MaxValue : BinaryPrimitives.ReadUInt32LittleEndian(blob);
        if (size % sizeof(uint) != 0 || size == 0 || size > blob.Length - sizeof(uint))
        {
            throw new ModelFormatException($"'{source}': the precompiled_charsmap of {blob.Length} bytes says that its trie has {size} bytes, which does not fit. Fetch the file again.");
        }

        uint[] units = new uint[size / sizeof(uint)];
        for (int i = 0; i < units.Length; i++)
        {
            units[i] = BinaryPrimitives.ReadUInt32LittleEndian(blob[((i + 1) * sizeof(uint))..]);
        }

        return new CharacterMap(units, blob[(int)(size + sizeof(uint))..].ToArray());
    }

    /// <summary>Text with its characters replaced: whole clusters of characters where the map knows one, else each character.</summary>
    public string Normalize(string text)
    {
        if (_units.Length == 0)
        {
            return text;
        }

        StringBuilder result = new(text.Length);
        Span<byte> utf8 = stackalloc byte[4];
        for (TextElementEnumerator clusters = StringInfo.GetTextElementEnumerator(text); clusters.MoveNext();)
        {
            string cluster = clusters.GetTextElement();
            if (Encoding.UTF8.GetByteCount(cluster) < LongestCluster && Find(Encoding.UTF8.GetBytes(cluster)) is { } whole)
            {
                result.Append(whole);
                continue;
            }

            foreach (Rune rune in cluster.EnumerateRunes())
            {
                result.Append(Find(utf8[..rune.EncodeToUtf8(utf8)]) ?? rune.ToString());
            }
        }

        return result.ToString();
    }

    /// <summary>Text with the longest known key at each place replaced, as SentencePiece itself does.</summary>
    public string NormalizeLongest(string text)
    {
        if (_units.Length == 0)
        {
            return text;
        }

        byte[] utf8 = Encoding.UTF8.GetBytes(text);
        StringBuilder result = new(text.Length);
        for (int done = 0; done < utf8.Length;)
        {
            if (FindLongest(utf8.AsSpan(done)) is (int length, string replacement))
            {
                result.Append(replacement);
                done += length;
            }
            else
            {
                Rune.DecodeFromUtf8(utf8.AsSpan(done), out Rune rune, out int bytes);
                result.Append(rune);
                done += bytes;
            }
        }

        return result.ToString();
    }

    /// <summary>The replacement of the shortest key that a text begins with; null if there is none.</summary>
    private string? Find(ReadOnlySpan<byte> text) => FindNext(text, 0, OffsetOf(_units[0]), out _, out _);

    private (int Length, string Replacement)? FindLongest(ReadOnlySpan<byte> text)
    {
        (int, string)? longest = null;
        uint place = OffsetOf(_units[0]);
        for (int length = 0; FindNext(text, length, place, out length, out place) is { } replacement;)
        {
            longest = (length, replacement);
        }

        return longest;
    }

    /// <summary>Walks down the trie to the next key that the text begins with.</summary>
    private string? FindNext(ReadOnlySpan<byte> text, int from, uint place, out int length, out uint end)
    {
        for (length = from; length < text.Length;)
        {
            byte b = text[length++];
            place ^= b;
            if (b == 0 || place >= _units.Length || (_units[place] & 0x800000FF) != b)
            {
                break;
            }

            uint unit = _units[place];
            place ^= OffsetOf(unit);
            if ((unit >> 8 & 1) != 0)
            {
                end = place;
                return place < _units.Length ? ReplacementAt(_units[place] & 0x7FFFFFFF) : null;
            }
        }

        end = place;
        return null;
    }

    private string? ReplacementAt(uint start)
    {
        if (start >= _replacements.Length)
        {
            return null;
        }

        ReadOnlySpan<byte> rest = _replacements.AsSpan((int)start);
        int end = rest.IndexOf((byte)0);
        return Encoding.UTF8.GetString(end < 0 ? rest : rest[..end]);
    }

    private static uint OffsetOf(uint unit) => (unit >> 10) << (int)((unit & (1 << 9)) >> 6);
}

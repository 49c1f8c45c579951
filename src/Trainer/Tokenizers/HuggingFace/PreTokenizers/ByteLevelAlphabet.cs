using System.Text;

namespace OrtQLoRA.Trainer.Tokenizers.HuggingFace.PreTokenizers;

/// <summary>
/// GPT-2's spelling of bytes as visible characters: printable Latin-1 stands for itself, the other 68 bytes for U+0100 on.
/// </summary>
internal static class ByteLevelAlphabet
{
    private static readonly char[] Characters = new char[256];
    private static readonly Dictionary<char, byte> Bytes = [];

    static ByteLevelAlphabet()
    {
        int shifted = 0;
        for (int b = 0; b < 256; b++)
        {
            bool printable = b is (>= '!' and <= '~') or (>= 0xA1 and <= 0xAC) or (>= 0xAE and <= 0xFF);
            Characters[b] = printable ? (char)b : (char)(0x100 + shifted++);
            Bytes.Add(Characters[b], (byte)b);
        }
    }

    /// <summary>One character for each byte of the text's UTF-8.</summary>
    public static string Spell(string text) => Spell(Encoding.UTF8.GetBytes(text));

    /// <summary>One character for each byte.</summary>
    public static string Spell(byte[] bytes) => string.Concat(bytes.Select(b => Characters[b]));

    /// <summary>The bytes that a spelling stands for; characters outside the alphabet, as in added tokens, keep their UTF-8.</summary>
    public static void Read(string spelling, List<byte> bytes)
    {
        foreach (char c in spelling)
        {
            if (!Bytes.ContainsKey(c))
            {
                bytes.AddRange(Encoding.UTF8.GetBytes(spelling));
                return;
            }
        }

        bytes.AddRange(spelling.Select(c => Bytes[c]));
    }
}

using System.Text;

namespace OrtQLoRA.Trainer.Tokenizers.HuggingFace.Normalizers;

/// <summary>SentencePiece's rules for translation data: control characters go, odd white space becomes a space.</summary>
internal static class NmtNormalizer
{
    public static string Normalize(string text)
    {
        StringBuilder result = new(text.Length);
        foreach (Rune rune in text.EnumerateRunes())
        {
            if (!IsControl(rune.Value))
            {
                result.Append(IsSpace(rune.Value) ? new Rune(' ') : rune);
            }
        }

        return result.ToString();
    }

    private static bool IsControl(int code) => code is (>= 0x01 and <= 0x08) or 0x0B or (>= 0x0E and <= 0x1F) or 0x7F or 0x8F or 0x9F;

    private static bool IsSpace(int code) => code is 0x09 or 0x0A or 0x0C or 0x0D or 0x1680 or (>= 0x200B and <= 0x200F) or 0x2028 or 0x2029 or 0x2581 or 0xFEFF or 0xFFFD;
}

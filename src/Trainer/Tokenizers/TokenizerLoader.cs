using System.Text.Json;
using OrtQLoRA.Graph;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.Trainer.Tokenizers.HuggingFace;
using OrtQLoRA.Trainer.Tokenizers.Llama2c;
using OrtQLoRA.Trainer.Tokenizers.SentencePiece;
using OrtQLoRA.Trainer.Tokenizers.Tiktoken;

namespace OrtQLoRA.Trainer.Tokenizers;

/// <summary>Loads a tokenizer from whichever kind of file it is kept in.</summary>
public static class TokenizerLoader
{
    private static readonly string[] SettingsNames = ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"];

    /// <summary>Loads a tokenizer.</summary>
    /// <param name="path">
    /// A tokenizer.json of Hugging Face, a vocab.json with its merges.txt, a SentencePiece tokenizer.model, a WordPiece vocab.txt, a
    /// tiktoken file, a llama2.c vocabulary, or a folder with one of them. Settings come from tokenizer_config.json, special_tokens_map.json and
    /// added_tokens.json beside it.
    /// </param>
    /// <exception cref="ModelFormatException">There is no such file, or it is of no kind that can be read, or damaged.</exception>
    public static ITextTokenizer Load(string path)
    {
        string file = Directory.Exists(path) ? FindIn(path) : path;
        if (!File.Exists(file))
        {
            throw new ModelFormatException($"There is no tokenizer '{file}'; give a {string.Join(", ", ModelFolder.TokenizerNames)} or the folder that holds one.");
        }

        byte[] content = File.ReadAllBytes(file);
        ReadOnlySpan<byte> text = content.AsSpan().StartsWith("\uFEFF"u8) ? content.AsSpan(3) : content;
        if (Path.GetFileName(file) == VocabularyAndMergesReader.MergesName)
        {
            return Load(Path.Combine(Path.GetDirectoryName(file) ?? "", VocabularyAndMergesReader.VocabularyName));
        }

        if (text.TrimStart(" \t\r\n"u8) is [(byte)'{', ..])
        {
            using JsonDocument document = TokenizerJsonReader.Parse(content.AsMemory(content.Length - text.Length), file);
            return VocabularyAndMergesReader.IsVocabulary(document.RootElement)
                ? VocabularyAndMergesReader.Read(file, ReadSettings(file))
                : TokenizerJsonReader.Read(content.AsMemory(content.Length - text.Length), ReadSettings(file), file);
        }

        if (Llama2cVocabularyFile.IsVocabulary(content))
        {
            return new Llama2cTokenizer(Llama2cVocabularyFile.Read(content, file));
        }

        if (WordPieceVocabularyReader.IsVocabulary(text))
        {
            return WordPieceVocabularyReader.Read(text, ReadSettings(file), file);
        }

        if (TiktokenReader.IsVocabulary(text))
        {
            return TiktokenReader.Read(content.AsMemory(content.Length - text.Length), ReadSettings(file), file);
        }

        // Nothing but its first byte marks a SentencePiece model: field 1 of a message, the first piece.
        if (content is [0x0A, ..])
        {
            return SentencePieceReader.Read(SentencePieceFile.Read(content, file), ReadSettings(file), file);
        }

        // The name says what was meant, so that the reader can say what is wrong with it.
        return Path.GetExtension(file) == ".bin"
            ? new Llama2cTokenizer(Llama2cVocabularyFile.Read(content, file))
            : throw new ModelFormatException(
                $"'{file}' ({content.Length} bytes) is no tokenizer that can be read: neither a tokenizer.json of Hugging Face, nor a vocab.json with its merges.txt, nor a SentencePiece tokenizer.model, nor a WordPiece vocab.txt (with a line [UNK]), nor a tiktoken file, nor a llama2.c vocabulary.");
    }

    private static string FindIn(string folder) => ModelFolder.TokenizerNames.Select(name => Path.Combine(folder, name)).FirstOrDefault(File.Exists)
        ?? Directory.EnumerateFiles(folder, "*.tiktoken").Order(StringComparer.Ordinal).FirstOrDefault()
        ?? throw new ModelFormatException($"The folder '{folder}' holds no tokenizer; one of {string.Join(", ", ModelFolder.TokenizerNames)}, *.tiktoken is looked for.");

    private static List<JsonElement> ReadSettings(string tokenizerFile)
    {
        List<JsonElement> settings = [];
        foreach (string name in SettingsNames)
        {
            string file = Path.Combine(Path.GetDirectoryName(Path.GetFullPath(tokenizerFile))!, name);
            if (File.Exists(file))
            {
                using JsonDocument document = TokenizerJsonReader.Parse(File.ReadAllBytes(file), file);
                settings.Add(document.RootElement.Clone());
            }
        }

        return settings;
    }
}

using OrtQLoRA.Graph.IO;

namespace OrtQLoRA.Graph.Export.Layout;

/// <summary>Folders that exports write.</summary>
internal static class OutputFolder
{
    private const string Config = "config.json";

    // What servers and tokenizers read beside a model, by name or by extension.
    private static readonly string[] Companions =
    [
        "genai_config.json", Config, "generation_config.json", "ort_config.json", "tokenizer.json", "tokenizer_config.json", "tokenizer.model",
        "spiece.model", "sentencepiece.bpe.model", "vocab.json", "vocab.txt", "merges.txt", "special_tokens_map.json", "added_tokens.json",
        "preprocessor_config.json", "processor_config.json", "chat_template.json", "chat_template.jinja",
    ];

    /// <summary>Creates a folder if need be.</summary>
    /// <exception cref="FileWriteException">It cannot be created.</exception>
    public static void Create(string folder)
    {
        try
        {
            Directory.CreateDirectory(folder);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new FileWriteException($"The folder '{folder}' cannot be created: {e.Message} Choose another --output or mend its permissions.", e);
        }
    }

    /// <summary>Copies a model's config.json to where an exported file lies, unless there is one already.</summary>
    /// <param name="modelPath">The model.</param>
    /// <param name="exported">The exported file.</param>
    /// <returns>Whether it was copied.</returns>
    public static bool CopyConfigBeside(string modelPath, string exported)
    {
        string folder = Path.GetDirectoryName(Path.GetFullPath(exported))!;
        return !File.Exists(Path.Combine(folder, Config)) && CopyCompanions(modelPath, folder, [.. Companions.Where(c => c != Config)]).Count > 0;
    }

    /// <summary>Copies what lies beside a model and belongs to it: configuration and tokenizer.</summary>
    /// <param name="modelPath">The model.</param>
    /// <param name="folder">Takes the copies.</param>
    /// <param name="except">Names of files that the export writes itself.</param>
    /// <returns>The names of the copied files.</returns>
    public static IReadOnlyList<string> CopyCompanions(string modelPath, string folder, params IReadOnlyCollection<string> except)
    {
        string source = Path.GetDirectoryName(Path.GetFullPath(modelPath))!;
        if (source == Path.GetFullPath(folder))
        {
            return [];
        }

        string[] found = [.. Companions.Where(c => !except.Contains(c) && File.Exists(Path.Combine(source, c)))];
        foreach (string name in found)
        {
            AtomicFile.Write(Path.Combine(folder, name), target =>
            {
                using FileStream file = File.OpenRead(Path.Combine(source, name));
                file.CopyTo(target);
            });
        }

        return found;
    }
}

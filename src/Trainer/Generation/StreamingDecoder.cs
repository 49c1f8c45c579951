using OrtQLoRA.Trainer.Tokenizers;

namespace OrtQLoRA.Trainer.Generation;

/// <summary>Turns ids into text as they arrive; a character whose bytes are not all there yet waits for them.</summary>
/// <param name="tokenizer">The tokenizer of the model.</param>
/// <param name="prompt">Ids before those that arrive; they decide, for example, whether a first space counts.</param>
public sealed class StreamingDecoder(ITextTokenizer tokenizer, IEnumerable<int> prompt)
{
    private readonly List<int> _ids = [.. prompt];
    private int _shown = tokenizer.Decode(prompt).Length;

    /// <summary>The text that is certain now that this id has arrived; may be empty.</summary>
    public string Append(int id)
    {
        _ids.Add(id);
        string text = tokenizer.Decode(_ids);
        return text.EndsWith('\uFFFD') ? "" : Take(text);
    }

    /// <summary>What still waits, when no more ids will arrive.</summary>
    public string Finish() => Take(tokenizer.Decode(_ids));

    private string Take(string text)
    {
        string fresh = text.Length > _shown ? text[_shown..] : "";
        _shown = Math.Max(_shown, text.Length);
        return fresh;
    }
}

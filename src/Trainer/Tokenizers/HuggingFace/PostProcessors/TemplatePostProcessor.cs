namespace OrtQLoRA.Trainer.Tokenizers.HuggingFace.PostProcessors;

/// <summary>Puts special tokens around one text or a pair of texts.</summary>
/// <param name="Single">Parts around one text.</param>
/// <param name="Pair">Parts around two texts.</param>
internal sealed record TemplatePostProcessor(IReadOnlyList<TemplatePart> Single, IReadOnlyList<TemplatePart> Pair)
{
    /// <summary>Adds nothing: the texts one behind the other.</summary>
    public static TemplatePostProcessor None { get; } = new(
        [new TemplatePart([], 0, 0)], [new TemplatePart([], 0, 0), new TemplatePart([], 1, 0)]);

    /// <summary>A token before each text, and one behind it; null for none.</summary>
    public static TemplatePostProcessor Around(int? first, int? last)
    {
        return new TemplatePostProcessor(Text(0), [.. Text(0), .. Text(1)]);

        TemplatePart[] Text(int index) => [.. Token(first, index), new([], index, index), .. Token(last, index)];

        TemplatePart[] Token(int? id, int type) => id is int token ? [new([token], null, type)] : [];
    }

    /// <summary>The template of BERT, [CLS] A [SEP] B [SEP], or that of RoBERTa with a doubled separator and one segment.</summary>
    public static TemplatePostProcessor Classic(int first, int separator, bool doubledSeparator)
    {
        TemplatePart begin = new([first], null, 0);
        TemplatePart text = new([], 0, 0);
        int secondType = doubledSeparator ? 0 : 1;
        return new TemplatePostProcessor(
            [begin, text, new([separator], null, 0)],
            [begin, text, new(doubledSeparator ? [separator, separator] : [separator], null, 0), new([], 1, secondType), new([separator], null, secondType)]);
    }

    /// <summary>The ids of the texts in the template, and for each the segment it belongs to.</summary>
    public static (int[] Ids, int[] TypeIds) Apply(IReadOnlyList<TemplatePart> template, params IReadOnlyList<IReadOnlyList<int>> texts)
    {
        List<int> ids = [];
        List<int> typeIds = [];
        foreach (TemplatePart part in template)
        {
            IReadOnlyList<int> added = part.TextIndex is int text ? texts[text] : part.Tokens;
            ids.AddRange(added);
            typeIds.AddRange(Enumerable.Repeat(part.TypeId, added.Count));
        }

        return ([.. ids], [.. typeIds]);
    }
}

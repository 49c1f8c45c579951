namespace OrtQLoRA.Graph.Losses;

/// <summary>How token vectors become the vector of a text.</summary>
public enum Pooling
{
    /// <summary>Their mean over the tokens attended to.</summary>
    Mean,

    /// <summary>The first token's, which BERT calls [CLS].</summary>
    Cls,

    /// <summary>The last token's that is attended to, as decoders are pooled.</summary>
    Last,
}

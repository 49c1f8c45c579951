namespace OrtQLoRA.Graph.Adapters.Lora;

/// <summary>Which biases of the base model are trained beside the LoRA matrices.</summary>
public enum LoraBias
{
    /// <summary>None.</summary>
    None,

    /// <summary>Every parameter with <c>bias</c> in its name, norms included.</summary>
    All,

    /// <summary>The biases of the targeted modules.</summary>
    LoraOnly,
}

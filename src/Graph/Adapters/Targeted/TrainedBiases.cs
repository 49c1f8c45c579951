namespace OrtQLoRA.Graph.Adapters.Targeted;

/// <summary>Which biases of the base model are trained beside an adapter (PEFT's <c>bias</c>).</summary>
public enum TrainedBiases
{
    /// <summary>None.</summary>
    None,

    /// <summary>Every parameter with <c>bias</c> in its name, norms included.</summary>
    All,

    /// <summary>The biases of the targeted modules: <c>lora_only</c>, <c>boft_only</c> and so on.</summary>
    Targets,
}

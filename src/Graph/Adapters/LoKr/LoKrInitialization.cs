namespace OrtQLoRA.Graph.Adapters.LoKr;

/// <summary>How LoKr's factors begin (<c>init_weights</c>).</summary>
public enum LoKrInitialization
{
    /// <summary><c>true</c>: w1 (or w1_a) zero, the rest uniform.</summary>
    Default,

    /// <summary><c>false</c>: all uniform, so that the adapter changes the output from the start.</summary>
    Random,

    /// <summary><c>lycoris</c>: w2 (or w2_b) zero, the rest uniform.</summary>
    Lycoris,
}

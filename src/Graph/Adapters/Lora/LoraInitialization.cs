namespace OrtQLoRA.Graph.Adapters.Lora;

/// <summary>How the LoRA matrices begin (<c>init_lora_weights</c>).</summary>
public enum LoraInitialization
{
    /// <summary>
    /// <c>true</c>: A uniform in <c>±1/sqrt(in)</c> (Kaiming with a = sqrt 5), B zero. On embeddings A zero, B standard normal.
    /// </summary>
    Default,

    /// <summary><c>false</c>: B uniform in <c>±1/sqrt(r)</c> too, so that the adapter changes the output from the start.</summary>
    Random,

    /// <summary><c>gaussian</c>: A normal with standard deviation 1/r, B zero.</summary>
    Gaussian,

    /// <summary>
    /// A method that leaves the base model as it is (<c>orthogonal</c>, <c>eva</c>) and whose result comes with the adapter
    /// file; cannot be computed here.
    /// </summary>
    FromFile,
}

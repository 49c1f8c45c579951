using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes;

/// <summary>Checks that a model keeps the rules of ONNX; changes nothing.</summary>
public sealed class VerificationPass : GraphPass
{
    /// <inheritdoc/>
    /// <exception cref="GraphException">The model breaks a rule.</exception>
    public override bool Run(OnnxModel model)
    {
        GraphVerifier.Verify(model);
        return false;
    }
}

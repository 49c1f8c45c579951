using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes;

/// <summary>Sequences of passes that bring models into the form that training graphs are built from.</summary>
public static class NormalisationPipeline
{
    /// <summary>
    /// Passes for a copy of a model that is to be trained: no functions, no Constant nodes, no initializers that are
    /// inputs too, opset 21 or later, no nodes that do nothing, no branches whose condition is known, types wherever
    /// they follow, shape arithmetic folded as far as shapes are static, nothing that no output needs.
    /// </summary>
    /// <param name="keepSymbolic">
    /// Initializers that must not be folded into others, since training, quantization or an adapter will change them;
    /// null for none.
    /// </param>
    /// <remarks>Names of initializers, graph inputs and graph outputs stay.</remarks>
    public static PassPipeline ForTraining(Func<Value, bool>? keepSymbolic = null) => new(
        new VerificationPass(),
        new FunctionInliningPass(),
        new ConstantToInitializerPass(),
        new InitializerInputsPass(),
        new ShapeInferencePass(),
        new OpsetUpgradePass(),
        new IdentityEliminationPass(),
        new ShapeInferencePass(),
        new ConstantFoldingPass(keepSymbolic),
        new IfFoldingPass(),
        new ShapeInferencePass(),
        new IdentityEliminationPass(),
        new DeadNodeEliminationPass(),

        // Dimensions of their own are named after values, some of which bear other names now.
        new ShapeInferencePass());
}

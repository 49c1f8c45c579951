using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes;

/// <summary>Sequences of passes that bring models into the form that training graphs are built from.</summary>
public static class NormalisationPipeline
{
    /// <summary>
    /// <see cref="ForTraining"/> of a model whose key/value cache goes first, as training starts every sequence anew. Names of
    /// initializers and of inputs and outputs that are no cache stay.
    /// </summary>
    /// <param name="keepSymbolic">As for <see cref="ForTraining"/>.</param>
    public static PassPipeline ForTrainingWithoutCache(Func<Value, bool>? keepSymbolic = null) =>
        new([new CacheEliminationPass(), .. ForTraining(keepSymbolic).Passes]);

    /// <summary>
    /// Passes for a copy of a model that is to be trained: no functions, no Constant nodes, no initializers that are
    /// inputs too, opset 21 or later, no nodes that do nothing, no branches whose condition is known, no fused operators that can be taken apart, rounded activations with a straight-through gradient, types wherever
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
        new SequenceEliminationPass(),
        new InitializerInputsPass(),
        new ShapeInferencePass(),
        new BFloat16WideningPass(),
        new OpsetUpgradePass(),
        new IdentityEliminationPass(),
        new ShapeInferencePass(),
        new IntegerWeightPass(),
        new IntegerProductPass(),
        new ConstantFoldingPass(keepSymbolic),
        new IfFoldingPass(),
        new ShapeInferencePass(),
        new DecompositionPass(),
        new ConstantFoldingPass(keepSymbolic),
        new IdentityEliminationPass(),
        new FakeQuantizationPass(),
        new DeadNodeEliminationPass(),

        // Dimensions of their own are named after values, some of which bear other names now.
        new ShapeInferencePass());
}

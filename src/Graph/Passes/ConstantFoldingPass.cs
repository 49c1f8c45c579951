using OrtQLoRA.Graph.Evaluation;
using OrtQLoRA.Graph.Inference;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes;

/// <summary>
/// Computes nodes whose results are known before the model runs and puts initializers of the same names in their
/// place, in the main graph and in subgraphs:
/// 1. nodes all of whose inputs are constants, <c>Constant</c> among them;
/// 2. <c>Shape</c> and <c>Size</c> of values whose static dimensions say the result, and data movement of shapes
///    where the elements that it takes are known, such as <c>Gather(Shape(x), 1)</c> with only axis 1 static.
/// Nodes that make graph outputs, random operators, operators with subgraphs, function calls and
/// <c>DequantizeLinear</c> (weights keep their stored form) stay. Results of integer, bool and shape arithmetic are
/// exactly the runtime's.
/// </summary>
/// <remarks>Requires: shape inference, for rule 2. Ensures: nothing about constants no longer read; see <see cref="DeadNodeEliminationPass"/>.</remarks>
public sealed class ConstantFoldingPass : GraphPass
{
    private static readonly HashSet<string> NeverFolded =
        ["RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial", "Dropout", "DequantizeLinear"];

    private readonly Func<Value, bool> _keepSymbolic;
    private readonly FoldingLimits _limits;
    private readonly List<string> _skipped = [];

    /// <summary>Creates the pass.</summary>
    /// <param name="keepSymbolic">
    /// Constants that must not be computed with, since training, quantization or an adapter will change them; null
    /// for none. Their shapes may be.
    /// </param>
    /// <param name="limits">How large folded tensors may be; null for the defaults.</param>
    public ConstantFoldingPass(Func<Value, bool>? keepSymbolic = null, FoldingLimits? limits = null)
    {
        _keepSymbolic = keepSymbolic ?? (_ => false);
        _limits = limits ?? new FoldingLimits();
    }

    /// <summary>
    /// Nodes of the last run that had constant inputs but could not be computed, with the reason. They still run at
    /// run time, where an error in them (an integer division by zero, say) shows if they are reached.
    /// </summary>
    public IReadOnlyList<string> Skipped => _skipped;

    /// <inheritdoc/>
    public override bool Run(OnnxModel model)
    {
        _skipped.Clear();
        ReferenceEvaluator evaluator = new(model, EvaluationMode.Typed);
        return Fold(model.Graph, model.Opset, evaluator, new PartialConstants(evaluator), []);
    }

    private bool Fold(OnnxGraph graph, long opset, ReferenceEvaluator evaluator, PartialConstants partial, HashSet<Value> refined)
    {
        bool changed = false;
        foreach (Node node in graph.Nodes)
        {
            RefineTypes(node, opset, refined);
            foreach (OnnxGraph subgraph in node.Subgraphs)
            {
                changed |= Fold(subgraph, opset, evaluator, partial, refined);
            }

            if (Compute(node, evaluator, partial) is { } results)
            {
                refined.UnionWith(node.Outputs);
                graph.ReplaceByInitializers(node, results);
                changed = true;
            }
        }

        return changed;
    }

    // A folded input (a target shape, axes) may tell more about the outputs, on which later Shape nodes depend.
    private static void RefineTypes(Node node, long opset, HashSet<Value> refined)
    {
        if (node.Inputs.Any(i => i is not null && refined.Contains(i)))
        {
            OnnxType?[] before = [.. node.Outputs.Select(o => o.Type)];
            NodeInference.Infer(node, opset);
            refined.UnionWith(node.Outputs.Where((o, i) => o.Type != before[i]));
        }
    }

    private IReadOnlyList<ITensor?>? Compute(Node node, ReferenceEvaluator evaluator, PartialConstants partial)
    {
        if (!MayFold(node, evaluator))
        {
            return null;
        }

        if (node.Is("Constant") && node.Attributes.TryGetValue("value", out NodeAttribute? content))
        {
            return [content.AsTensor()];
        }

        try
        {
            IReadOnlyList<ReferenceTensor?>? results = ComputeFromConstants(node, evaluator);
            results ??= partial.Compute(node, Read) is { } known ? [known] : null;
            return results is not null && Accept(node, results) ? [.. results.Select(r => r?.ToTensor())] : null;
        }
        catch (OrtQLoRAException e)
        {
            _skipped.Add(e.Message);
            return null;
        }
    }

    private static bool MayFold(Node node, ReferenceEvaluator evaluator) =>
        evaluator.HasKernel(node)
        && !NeverFolded.Contains(node.OpType)
        && !node.Subgraphs.Any()
        && !node.Outputs.Any(o => o.IsGraphOutput)
        && !node.Attributes.Values.Any(a => a.ReferenceName is not null);

    private IReadOnlyList<ReferenceTensor?>? ComputeFromConstants(Node node, ReferenceEvaluator evaluator)
    {
        long inputElements = 0;
        foreach (Value? input in node.Inputs)
        {
            if (input is not null && !IsFoldable(input))
            {
                return null;
            }

            inputElements += input?.Initializer?.ElementCount() ?? 0;
        }

        if (inputElements > _limits.MaxInputElements || !FitsOutput(node, inputElements))
        {
            return null;
        }

        ReferenceTensor?[] inputs = [.. node.Inputs.Select(i => i is null ? null : ReferenceTensor.From(i.Initializer!))];
        return IsPlatformDependent(node, inputs) ? null : evaluator.RunNode(node, inputs);
    }

    private bool IsFoldable(Value value) => value.IsConstant && !_keepSymbolic(value);

    private ReferenceTensor? Read(Value value) =>
        IsFoldable(value) && value.Initializer!.ElementCount() <= _limits.MaxGrowth ? ReferenceTensor.From(value.Initializer!) : null;

    // Where inference does not know the size beforehand, small inputs bound it.
    private bool FitsOutput(Node node, long inputElements)
    {
        foreach (Value output in node.Outputs)
        {
            if (output.Name.Length == 0)
            {
                continue;
            }

            if (output.Shape is not { IsStatic: true } shape)
            {
                return inputElements <= _limits.MaxGrowth && !node.Is("ConstantOfShape") && !node.Is("Expand") && !node.Is("Tile") && !node.Is("Range");
            }

            long elements = shape.ElementCount!.Value;
            if (elements > _limits.MaxOutputElements || elements > Math.Max(inputElements, _limits.MaxGrowth))
            {
                return false;
            }
        }

        return true;
    }

    // Conversions of numbers outside the target's range give what the processor gives.
    private static bool IsPlatformDependent(Node node, ReferenceTensor?[] inputs) =>
        (node.Is("Cast") || node.Is("CastLike"))
        && inputs[0] is { IsFloatingPoint: true } x
        && node.Outputs[0].ElementType is var type
        && type != DataType.Bool
        && !type.IsFloatingPoint()
        && !x.Floats.All(v => double.IsFinite(v) && Math.Abs(v) < (1L << 62) && ElementRounding.Wrap(type, (long)v) == (long)v);

    private bool Accept(Node node, IReadOnlyList<ReferenceTensor?> results)
    {
        for (int i = 0; i < node.Outputs.Count; i++)
        {
            Value output = node.Outputs[i];
            ReferenceTensor? result = results.ElementAtOrDefault(i);
            if (result is null ? output.IsUsed : output.ElementType != DataType.Undefined && output.ElementType != result.ElementType)
            {
                _skipped.Add($"{node.Describe()}: output {i} should be {output}, but was computed as {result?.ToString() ?? "nothing"}.");
                return false;
            }
        }

        return true;
    }
}

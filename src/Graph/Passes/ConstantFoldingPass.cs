using OrtQLoRA.Graph.Evaluation;
using OrtQLoRA.Graph.Inference;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes;

/// <summary>
/// Computes nodes whose results are known before the model runs and puts initializers of the same names in their
/// place, in the main graph and in subgraphs:
/// 1. nodes all of whose inputs are constants, <c>Constant</c> among them;
/// 2. nodes whose integer or bool results follow from static dimensions: <c>Shape</c> of a static shape, but also
///    <c>Gather(Shape(x), 1)</c> where only axis 1 is static (see <see cref="InferenceContext.TryGetContent"/>).
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
        return Fold(model.Graph, new Walk(new ReferenceEvaluator(model, EvaluationMode.Typed), new InferenceContext(model.OpsetImports)));
    }

    /// <summary>What one run over a model learns on its way.</summary>
    private sealed record Walk(ReferenceEvaluator Evaluator, InferenceContext Inference)
    {
        /// <summary>Values of which more is known than before the run.</summary>
        public HashSet<Value> Refined { get; } = [];

        /// <summary>Values computed from constants that must stay symbolic.</summary>
        public HashSet<Value> Symbolic { get; } = [];
    }

    private bool Fold(OnnxGraph graph, Walk walk)
    {
        bool changed = false;
        foreach (Node node in graph.Nodes)
        {
            RefineTypes(node, walk);
            walk.Inference.FollowContent(node);
            foreach (OnnxGraph subgraph in node.Subgraphs)
            {
                changed |= Fold(subgraph, walk);
            }

            if (Compute(node, walk) is { } results)
            {
                walk.Refined.UnionWith(node.Outputs);
                graph.ReplaceByInitializers(node, results);
                changed = true;
            }
            else if (!ReadsOnlyShape(node) && node.Inputs.Any(i => i is not null && IsSymbolic(i, walk)))
            {
                walk.Symbolic.UnionWith(node.Outputs);
            }
        }

        return changed;
    }

    // A folded input (a target shape, axes) may tell more about the outputs, on which later Shape nodes depend.
    private static void RefineTypes(Node node, Walk walk)
    {
        if (node.Inputs.Any(i => i is not null && walk.Refined.Contains(i)))
        {
            OnnxType?[] before = [.. node.Outputs.Select(o => o.Type)];
            NodeInference.Infer(node, walk.Inference);
            walk.Refined.UnionWith(node.Outputs.Where((o, i) => o.Type != before[i]));
        }
    }

    private static bool ReadsOnlyShape(Node node) => node.Is("Shape") || node.Is("Size");

    private bool IsSymbolic(Value value, Walk walk) => walk.Symbolic.Contains(value) || (value.IsConstant && _keepSymbolic(value));

    private IReadOnlyList<ITensor?>? Compute(Node node, Walk walk)
    {
        if (!MayFold(node, walk.Evaluator))
        {
            return null;
        }

        if (node.Is("Constant") && node.Attributes.TryGetValue("value", out NodeAttribute? content))
        {
            return [content.AsTensor()];
        }

        try
        {
            IReadOnlyList<ReferenceTensor?>? results = ComputeFromConstants(node, walk) ?? ComputeFromShapes(node, walk);
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

    private IReadOnlyList<ReferenceTensor?>? ComputeFromConstants(Node node, Walk walk)
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

        if (node.Outputs.Any(o => o.Shape is not { IsStatic: true }))
        {
            NodeInference.Infer(node, walk.Inference);
        }

        if (inputElements > _limits.MaxInputElements || !FitsOutput(node, inputElements))
        {
            return null;
        }

        ReferenceTensor?[] inputs = [.. node.Inputs.Select(i => i is null ? null : ReferenceTensor.From(i.Initializer!))];
        return IsPlatformDependent(node, inputs) ? null : walk.Evaluator.RunNode(node, inputs);
    }

    private bool IsFoldable(Value value) => value.IsConstant && !_keepSymbolic(value);

    private ReferenceTensor[]? ComputeFromShapes(Node node, Walk walk)
    {
        if (!ReadsOnlyShape(node) && node.Inputs.Any(i => i is not null && IsSymbolic(i, walk)))
        {
            return null;
        }

        List<ReferenceTensor> results = [];
        foreach (Value output in node.Outputs)
        {
            // Inference follows whole numbers in floats too, but does not round as they do.
            if (output.ElementType is not (DataType.Int64 or DataType.Int32 or DataType.Bool)
                || walk.Inference.ContentOf(output) is not { } content
                || content.Constants() is not { } elements)
            {
                return null;
            }

            results.Add(ReferenceTensor.OfIntegers(output.ElementType, content.Dims, elements));
        }

        return [.. results];
    }

    // A node whose result inference cannot size beforehand stays: computing it might take any amount of memory.
    private bool FitsOutput(Node node, long inputElements)
    {
        foreach (Value output in node.Outputs.Where(o => o.Name.Length > 0))
        {
            if (output.Shape is not { IsStatic: true } shape)
            {
                // At most rank positions for each element.
                return node.Is("NonZero") && inputElements <= _limits.MaxGrowth;
            }

            long elements = Indexing.Count(shape.ToArray());
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
        && inputs is [{ IsFloatingPoint: true } x, ..]
        && node.Outputs.Count > 0
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

using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes.MixedPrecision;

/// <summary>
/// Lets an fp32 graph compute its matrix products, and what lies between them, in fp16 or bf16, as PyTorch's autocast does.
/// Weights and graph inputs stay as they are and are converted where they are read; outputs of the graph keep their types.
/// </summary>
/// <remarks>
/// Run it on the whole forward graph, adapters, loss and native operators included, before the gradient is derived: branches
/// of adapters then compute in half precision over fp32 parameters, the loss is fp32, and the gradient converts where the
/// forward pass does.
/// </remarks>
public sealed class MixedPrecisionPass : GraphPass
{
    /// <summary>Just below where rounding to bf16 gives infinity: (2 - 2^-8) * 2^127.</summary>
    private const float BFloat16Limit = 3.3961775e38f;

    /// <summary>Constants with more elements are weights, not masks.</summary>
    private const long LargestChecked = 1 << 16;

    private readonly DataType _half;

    /// <summary>Creates the pass.</summary>
    /// <param name="half"><see cref="DataType.Float16"/> or <see cref="DataType.BFloat16"/>.</param>
    public MixedPrecisionPass(DataType half)
    {
        if (half is not (DataType.Float16 or DataType.BFloat16))
        {
            throw new ArgumentOutOfRangeException(nameof(half), half, "Half precision is Float16 or BFloat16.");
        }

        _half = half;
    }

    /// <inheritdoc/>
    public override bool Run(OnnxModel model)
    {
        ArgumentNullException.ThrowIfNull(model);
        PrecisionCasts casts = new(model);
        Dictionary<Value, OnnxType?> outputs = model.Graph.Outputs.ToDictionary(o => o, o => o.Type);
        bool changed = false;
        foreach (Node node in model.Graph.Nodes.ToArray())
        {
            if (node.Is("Cast") || node.Is("Shape") || node.Is("Size"))
            {
                // These take any type and give the one they name.
                continue;
            }

            if (IsReadBySubgraph(node))
            {
                Compute(node, DataType.Float, casts);
            }
            else if (PrecisionPolicy.ActivationCount(node, _half) is > 0 and int count)
            {
                changed |= ComputeNative(node, count, casts);
            }
            else if (IsTableLookup(node))
            {
                node.SetInput(0, casts.To(node.Inputs[0]!, _half, node));
                changed |= SetTypes(node, DataType.Float, _half);
            }
            else
            {
                bool isHalf = PrecisionPolicy.IsMatrixProduct(node) || (PrecisionPolicy.Follows(node) && FollowsHalf(node));
                changed |= Compute(node, isHalf ? _half : DataType.Float, casts) && isHalf;
            }
        }

        KeepOutputTypes(model, outputs);
        return changed;
    }

    private static IEnumerable<Value> Inputs(Node node) => node.Inputs.OfType<Value>();

    private static bool IsReadBySubgraph(Node node) => node.Subgraphs.Any() || node.Outputs.Any(o => o.Uses.Any(u => u.Node.Graph != node.Graph));

    // A constant table is converted once. One that is trained would be converted whole at each step: its rows stay fp32.
    private static bool IsTableLookup(Node node) => node.Is("Gather") && node.InputOrNull(0) is { ElementType: DataType.Float, IsConstant: true, Shape.Rank: >= 2 };

    /// <summary>Whether all that the node reads was computed in half precision, or is constant and within its range.</summary>
    private bool FollowsHalf(Node node)
    {
        Value[] read = [.. Inputs(node).Where(i => i.ElementType.IsFloatingPoint())];
        return read.Any(i => !i.IsConstant) && read.All(i => i.IsConstant ? IsInRange(i) : i.ElementType == _half);
    }

    // The fp32 minimum, by which masks hide scores, would become infinite, and a row that is hidden whole would become NaN.
    private bool IsInRange(Value constant)
    {
        ITensor? content = constant.Initializer;
        return content is null || content.ElementCount() > LargestChecked
            || content.ToFloats().All(v => !float.IsFinite(v) || (_half == DataType.Float16 ? Half.IsFinite((Half)v) : Math.Abs(v) < BFloat16Limit));
    }

    private bool Compute(Node node, DataType type, PrecisionCasts casts)
    {
        DataType other = type == DataType.Float ? _half : DataType.Float;
        for (int i = 0; i < node.Inputs.Count; i++)
        {
            if (node.Inputs[i] is { } input && input.ElementType == other && !KeepsType(node, i))
            {
                node.SetInput(i, casts.To(input, type, node));
            }
        }

        return SetTypes(node, other, type);
    }

    // Native operators take activations in half precision beside fp32 parameters, statistics and scales.
    private bool ComputeNative(Node node, int activations, PrecisionCasts casts)
    {
        for (int i = 0; i < Math.Min(activations, node.Inputs.Count); i++)
        {
            if (node.Inputs[i] is { ElementType: DataType.Float } input)
            {
                node.SetInput(i, casts.To(input, _half, node));
            }
        }

        for (int i = activations; i < node.Inputs.Count; i++)
        {
            if (node.Inputs[i] is { } input && input.ElementType == _half)
            {
                node.SetInput(i, casts.To(input, DataType.Float, node));
            }
        }

        foreach (Value output in PrecisionPolicy.ActivationOutputs(node).Where(o => o.ElementType == DataType.Float))
        {
            output.Type = new OnnxType.Tensor(_half, output.Shape);
        }

        return true;
    }

    // Scales of quantized weights decide the type of the result; ratio and mode of Dropout have types of their own.
    private static bool KeepsType(Node node, int input) => node.Is("DequantizeLinear") || (node.Is("Dropout") && input > 0);

    private static bool SetTypes(Node node, DataType from, DataType to)
    {
        bool changed = false;
        if (Inputs(node).All(i => i.ElementType != to) || node.Is("DequantizeLinear"))
        {
            return false;
        }

        foreach (Value output in node.Outputs.Where(o => o.ElementType == from))
        {
            output.Type = new OnnxType.Tensor(to, output.Shape);
            changed = true;
        }

        return changed;
    }

    private static void KeepOutputTypes(OnnxModel model, Dictionary<Value, OnnxType?> outputs)
    {
        foreach ((Value output, OnnxType? type) in outputs)
        {
            if (output.Type is OnnxType.Tensor now && type is OnnxType.Tensor before && now.ElementType != before.ElementType)
            {
                string name = output.Name;
                Value cast = new GraphBuilder(model.Graph, model.Opset) { Scope = "precision/" }.Cast(output, before.ElementType);
                model.Graph.ReplaceOutput(output, cast);
                output.Name = model.Graph.Names.Reserve(name + "_half");
                cast.Name = name;
            }
        }
    }
}

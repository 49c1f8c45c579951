using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes.MixedPrecision;

/// <summary>Lets operators without half-precision kernels compute in fp32 between two conversions.</summary>
/// <remarks>Run it last: gradient rules emit operators by what they compute, whatever the type.</remarks>
public sealed class MissingHalfKernelsPass : GraphPass
{
    /// <inheritdoc/>
    public override bool Run(OnnxModel model)
    {
        ArgumentNullException.ThrowIfNull(model);
        PrecisionCasts casts = new(model);
        bool changed = false;
        foreach (Node node in model.Graph.Nodes.ToArray())
        {
            if (PrecisionPolicy.HasHalfKernel(node) || node.Subgraphs.Any() || node.Is("DequantizeLinear"))
            {
                continue;
            }

            for (int i = 0; i < node.Inputs.Count; i++)
            {
                if (node.Inputs[i] is { } input && IsHalf(input))
                {
                    node.SetInput(i, casts.To(input, DataType.Float, node));
                    changed = true;
                }
            }

            foreach (Value output in node.Outputs.Where(IsHalf).ToArray())
            {
                Narrow(model, node, output);
                changed = true;
            }
        }

        return changed;
    }

    private static bool IsHalf(Value value) => value.ElementType is DataType.Float16 or DataType.BFloat16;

    private static void Narrow(OnnxModel model, Node node, Value output)
    {
        DataType half = output.ElementType;
        output.Type = new OnnxType.Tensor(DataType.Float, output.Shape);
        if (node.Attributes.TryGetValue("value", out NodeAttribute? value) && value.Kind == AttributeKind.Tensor)
        {
            ITensor filling = value.AsTensor();
            node.SetAttribute("value", NodeAttribute.Of(DenseTensor.Of(filling.Dims, (ReadOnlySpan<float>)filling.ToFloats())));
        }

        if (node.Attributes.ContainsKey("dtype"))
        {
            node.SetAttribute("dtype", (long)DataType.Float);
        }

        GraphBuilder builder = new(model.Graph, model.Opset, node.Next) { Scope = "precision/" };
        Value cast = builder.Cast(output, half);
        output.ReplaceAllUsesWith(cast, except: new HashSet<Node> { cast.Producer! });
    }
}

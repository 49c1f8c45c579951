using OrtQLoRA.Graph.Export;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes;

/// <summary>
/// Lets a bfloat16 model compute in fp32, as processors have no bfloat16 kernels: weights stay as they are stored behind a Cast, what
/// is computed from them is fp32. Inputs and outputs of the graph keep their types. Devices with such kernels bring
/// products back to half precision afterwards.
/// </summary>
/// <remarks>Requires: Constant nodes turned into initializers, initializers that are no inputs.</remarks>
public sealed class BFloat16WideningPass : GraphPass
{
    // Attributes that name the type of a result.
    private static readonly string[] TypeAttributes = ["to", "dtype", "output_dtype", "stash_type", "softmax_precision"];

    /// <inheritdoc/>
    public override bool Run(OnnxModel model)
    {
        OnnxGraph[] graphs = [model.Graph, .. model.Graph.AllNodes().SelectMany(n => n.Subgraphs)];
        if (!Array.Exists(graphs, g => g.Values.Any(v => v.ElementType == DataType.BFloat16) || g.Nodes.Any(ReturnsBFloat16)))
        {
            return false;
        }

        foreach (OnnxGraph graph in graphs)
        {
            Value[] outputs = [.. graph.Outputs.Where(o => o.ElementType == DataType.BFloat16 && graph.Parent is null)];
            Value[] sources = [.. graph.Initializers.Concat(graph.Inputs).Distinct().Where(v => v.ElementType == DataType.BFloat16)];
            foreach (Node node in graph.Nodes)
            {
                Widen(node);
            }

            foreach (Value source in sources)
            {
                WidenSource(graph, source, model.Opset);
            }

            foreach (Value output in outputs.Where(o => o.Producer is not null))
            {
                Narrow(graph, output);
            }
        }

        return true;
    }

    private static bool ReturnsBFloat16(Node node) => TypeAttributes.Any(a => node.Attributes.TryGetValue(a, out NodeAttribute? value) && value.Kind == AttributeKind.Int && value.AsInt() == (long)DataType.BFloat16);

    private static void Widen(Node node)
    {
        foreach (string name in TypeAttributes)
        {
            if (node.Attributes.TryGetValue(name, out NodeAttribute? value) && value.Kind == AttributeKind.Int && value.AsInt() == (long)DataType.BFloat16)
            {
                node.SetAttribute(name, (long)DataType.Float);
            }
        }

        if (node.Attributes.TryGetValue("value", out NodeAttribute? content) && content.Kind == AttributeKind.Tensor && content.AsTensor() is { ElementType: DataType.BFloat16 } tensor)
        {
            node.SetAttribute("value", DenseTensor.Of(tensor.Dims, tensor.ToFloats()));
        }

        foreach (Value output in node.Outputs.Where(o => o.ElementType == DataType.BFloat16))
        {
            output.Type = new OnnxType.Tensor(DataType.Float, output.Shape);
        }
    }

    private static void WidenSource(OnnxGraph graph, Value source, long opset)
    {
        if (source.IsConstant && source.Uses.All(u => u.Index > 0 && u.Node.OpType is "DequantizeLinear" or "MatMulNBits" or "GatherBlockQuantized"))
        {
            // Scales must be constants where integers are dequantized.
            graph.SetInitializer(source, ConvertedTensor.To(source.Initializer!, DataType.Float));
            return;
        }

        if (source.Uses.Count > 0)
        {
            GraphBuilder builder = new(graph, opset, graph.First) { Scope = "widen/" };
            Value wide = builder.Op("Cast", [source], ("to", (long)DataType.Float));
            foreach (Use use in source.Uses.Where(u => u.Node != wide.Producer).ToArray())
            {
                use.Node.SetInput(use.Index, wide);
            }
        }
    }

    private static void Narrow(OnnxGraph graph, Value output)
    {
        Node cast = graph.AddNode("Cast", [output], graph.NodeNames.Reserve("narrow/Cast"));
        cast.SetAttribute("to", (long)DataType.BFloat16);
        Value narrow = cast.AddOutput(graph.Names.Reserve(output.Name), new OnnxType.Tensor(DataType.BFloat16, output.Shape));
        string name = output.Name;
        graph.ReplaceOutput(output, narrow);
        output.Name = graph.Names.Reserve(name + "_wide");
        narrow.Name = name;
    }
}

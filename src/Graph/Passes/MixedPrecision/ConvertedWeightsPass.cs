using OrtQLoRA.Graph.Export;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes.MixedPrecision;

/// <summary>Turns conversions of constant weights into weights of the type converted to, computed when they are read.</summary>
/// <remarks>One pass object must see every model whose sessions are to share weights: it converts each weight once.</remarks>
public sealed class ConvertedWeightsPass : GraphPass
{
    private readonly Dictionary<ITensor, Dictionary<DataType, ITensor>> _converted = new(ReferenceEqualityComparer.Instance);

    /// <inheritdoc/>
    public override bool Run(OnnxModel model)
    {
        ArgumentNullException.ThrowIfNull(model);
        bool changed = false;
        foreach (Node node in model.Graph.Nodes.ToArray())
        {
            if (node.Is("Cast") && node.InputOrNull(0) is { IsConstant: true, Initializer: { } content } source && !node.Outputs[0].IsGraphOutput
                && content.ElementType == DataType.Float && node.Outputs[0].ElementType is DataType.Float16 or DataType.BFloat16)
            {
                DataType type = node.Outputs[0].ElementType;
                Value converted = model.Graph.AddInitializer(
                    model.Graph.Names.Reserve($"{source.Name}_{type.OnnxName()}"), Converted(content, type));
                node.Outputs[0].ReplaceAllUsesWith(converted);
                changed = true;
            }
        }

        return changed;
    }

    private ITensor Converted(ITensor content, DataType type)
    {
        if (!_converted.TryGetValue(content, out Dictionary<DataType, ITensor>? types))
        {
            _converted[content] = types = [];
        }

        if (!types.TryGetValue(type, out ITensor? converted))
        {
            types[type] = converted = ConvertedTensor.To(content, type);
        }

        return converted;
    }
}

using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.BaseWeights;

/// <summary>
/// Turns a weight of the base model into an fp32 graph input, with what the initializer holds beyond the parameter added in the
/// graph (weight decay must see PyTorch's parameter), and cast to the base's type where that is another.
/// </summary>
internal static class TrainedWeightInput
{
    /// <summary>Creates the input in the initializer's orientation and makes the parameter's readers read it.</summary>
    public static Value Create(OnnxModel model, TrainedWeight weight, LinearSites sites)
    {
        ModelParameter parameter = weight.Parameter;
        Value value = parameter.Value;
        bool isShared = weight.IsCopy && sites.Parameters.Any(p => p.Value == value && p != parameter);
        Value input = !isShared && value.Initializer is not null && parameter.Content.ElementType == DataType.Float && parameter.Offset == 0
            ? Convert(model, parameter)
            : Add(model, parameter, isShared);
        foreach (LinearSite site in weight.Tied.SelectMany(t => t.WeightOf!.Sites))
        {
            // The embedding's table [vocabulary, dim] is the head's weight [out, in].
            WeightInput.Replace(site, ToTypeOfReader(model, site, input), isOutByIn: !parameter.IsTransposed, model.Opset);
        }

        return input;
    }

    private static Value Convert(OnnxModel model, ModelParameter parameter)
    {
        Value value = parameter.Value;
        model.Graph.ConvertInitializerToInput(value);
        if (value.Name != parameter.Name)
        {
            value.Name = model.Graph.Names.Reserve(parameter.Name);
        }

        return value;
    }

    private static Value Add(OnnxModel model, ModelParameter parameter, bool isShared)
    {
        OnnxGraph graph = model.Graph;
        Value value = parameter.Value;
        if (isShared && parameter.WeightOf is null)
        {
            throw new GraphException($"Parameter '{parameter.Name}' shares initializer '{value.Name}' with another one and is no layer's weight; it cannot get a copy of its own.");
        }

        Value input = graph.AddInput(graph.Names.Reserve(parameter.Name), DataType.Float, Shape.Of(parameter.Content.Dims));
        GraphBuilder builder = new(graph, model.Opset, graph.First);
        Value whole = parameter.Offset == 0 ? input : builder.Add(input, builder.Scalar(parameter.Offset));
        Value read = builder.Cast(whole, parameter.Content.ElementType);
        if (isShared)
        {
            foreach (LinearSite site in parameter.WeightOf!.Sites)
            {
                WeightInput.Replace(site, ToTypeOfReader(model, site, read), site.IsOutByIn, model.Opset);
            }
        }
        else
        {
            value.ReplaceAllUsesWith(read);
            WeightInput.RemoveUnread(value);
        }

        return input;
    }

    private static Value ToTypeOfReader(OnnxModel model, LinearSite site, Value weight)
    {
        DataType type = site.Node.Inputs[site.WeightIndex]!.ElementType;
        return type.IsFloatingPoint() && type != weight.ElementType ? new GraphBuilder(model.Graph, model.Opset, site.Node).Cast(weight, type) : weight;
    }
}

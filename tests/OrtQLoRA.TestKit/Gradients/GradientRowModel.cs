using OrtQLoRA.Graph.Evaluation;
using OrtQLoRA.Graph.Inference;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.TestKit.Gradients;

/// <summary>The model of one row of a gradient-check table, with values for its inputs.</summary>
public sealed class GradientRowModel
{
    private GradientRowModel(OnnxModel model, Dictionary<string, ReferenceTensor> feeds, List<string> differentiated, List<string> unused)
    {
        Model = model;
        Feeds = feeds;
        Differentiated = differentiated;
        UnusedOutputs = unused;
    }

    /// <summary>The forward model.</summary>
    public OnnxModel Model { get; }

    /// <summary>Values of inputs and constants.</summary>
    public IReadOnlyDictionary<string, ReferenceTensor> Feeds { get; }

    /// <summary>Names of the values to differentiate by.</summary>
    public IReadOnlyList<string> Differentiated { get; }

    /// <summary>Names of the outputs that the loss does not use.</summary>
    public IReadOnlyList<string> UnusedOutputs { get; }

    /// <summary>Builds the model.</summary>
    /// <param name="row">The row.</param>
    /// <param name="type">Element type of floating-point inputs.</param>
    /// <param name="staticShapes">Whether the graph knows the inputs' dimensions, or only their ranks.</param>
    /// <param name="seed">Seed of the values.</param>
    public static GradientRowModel Build(GradientRow row, DataType type, bool staticShapes, int seed)
    {
        Random random = new(seed);
        OnnxGraph graph = new("row");
        OnnxModel model = new(graph) { Opset = row.Opset };
        if (row.Domain.Length > 0)
        {
            model.OpsetImports[row.Domain] = 1;
        }

        Dictionary<string, ReferenceTensor> feeds = [];
        List<string> differentiated = [];
        List<Value?> inputs = [];
        foreach (GradientInput? input in row.Inputs)
        {
            inputs.Add(input is null ? null : input.SameAs is { } same ? inputs[same] : Add(input, $"x{inputs.Count}"));
        }

        Node node = graph.AddNode(row.OpType, inputs, row.OpType + "_under_check", row.Domain);
        foreach ((string name, NodeAttribute value) in row.Attributes)
        {
            node.SetAttribute(name, value);
        }

        for (int i = 0; i < row.Outputs; i++)
        {
            node.AddOutput($"y{i}");
        }

        NodeInference.Infer(node, row.Opset);
        List<string> unused = [];
        for (int i = 0; i < row.Outputs; i++)
        {
            Value output = node.Outputs[i];
            if (i == 0 && row.Then is { } then)
            {
                output = then(new GraphBuilder(graph, row.Opset), output);
            }

            graph.AddOutput(output);
            if (row.UnusedOutputs.Contains(i))
            {
                unused.Add(output.Name);
            }
        }

        return new GradientRowModel(model, feeds, differentiated, unused);

        Value Add(GradientInput input, string name)
        {
            ReferenceTensor value = input.Draw(random, type);
            Value added;
            if (input.IsConstant)
            {
                added = graph.AddInitializer(name, value.ToTensor());
                if (input.IsFloat)
                {
                    feeds[name] = value;
                }
            }
            else
            {
                Shape shape = new(input.Dims.Select((d, axis) => staticShapes || input.HasKnownShape ? Dimension.Of(d) : Dimension.Of($"{name}_dim{axis}")));
                added = graph.AddInput(name, value.ElementType, shape);
                feeds[name] = value;
            }

            if (input.IsFloat && input.IsDifferentiated)
            {
                differentiated.Add(name);
            }

            return added;
        }
    }
}

using OrtQLoRA.Graph;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Training;

namespace OrtQLoRA.Trainer.Engines.OrtTraining;

/// <summary>
/// Lets a training model tell the norm of the accumulated gradients, which the training session keeps to itself: the second
/// output of each accumulator feeds it. Works on artifacts of any maker.
/// </summary>
internal static class InstrumentedModel
{
    /// <summary>Output of the instrumented model: norm of all accumulated gradients, float scalar.</summary>
    internal const string GradientNorm = "accumulated_gradient_norm";

    private const string Accumulator = "InPlaceAccumulatorV2";
    private const string GradientPrefix = "accumulated_gradient.";

    /// <summary>Name of the output that holds a parameter's accumulated gradient.</summary>
    internal static string GradientOf(string parameter) => GradientPrefix + parameter;

    /// <summary>Adds the outputs.</summary>
    /// <param name="model">The training model; changed in place.</param>
    /// <param name="parameters">What is trained.</param>
    /// <param name="exposeGradients">Whether the accumulated gradients themselves become outputs, a copy at each step.</param>
    /// <exception cref="ModelFormatException">A parameter has no accumulator; the model is no training model.</exception>
    internal static void Instrument(OnnxModel model, IReadOnlyList<string> parameters, bool exposeGradients)
    {
        OnnxGraph graph = model.Graph;
        Dictionary<string, Node> accumulators = graph.Nodes.Where(n => n.OpType == Accumulator && n.InputOrNull(0) is not null)
            .ToDictionary(n => n.Inputs[0]!.Name, StringComparer.Ordinal);
        GraphBuilder builder = new(graph, model.Opset) { Scope = "gradient_norm/" };
        List<Value> squares = [];
        foreach (string parameter in parameters)
        {
            string buffer = ArtifactNames.AccumulationBuffer(parameter);
            if (!accumulators.TryGetValue(buffer, out Node? accumulator))
            {
                throw new ModelFormatException($"The training model has no {Accumulator} on '{buffer}', though the checkpoint has '{parameter}' among the trained parameters. Make model and checkpoint together.");
            }

            Value sum = accumulator.Outputs.Count > 1
                ? accumulator.Outputs[1]
                : accumulator.AddOutput(graph.Names.Reserve(GradientOf(parameter)), accumulator.Inputs[0]!.Type);
            squares.Add(builder.Op("ReduceSumSquare", [sum], ("keepdims", 0L)));
            if (exposeGradients)
            {
                sum.Name = GradientOf(parameter);
                graph.AddOutput(sum);
            }
        }

        Value norm = builder.Op("Sqrt", [squares.Count == 1 ? squares[0] : builder.Op("Sum", squares)]);
        norm.Name = GradientNorm;
        graph.AddOutput(norm);
    }
}

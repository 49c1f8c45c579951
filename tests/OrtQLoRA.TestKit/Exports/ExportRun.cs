using Microsoft.ML.OnnxRuntime;
using OrtQLoRA.Graph.Gradients;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Losses;
using OrtQLoRA.Graph.Passes;

namespace OrtQLoRA.TestKit.Exports;

/// <summary>Outputs, loss and gradients of an exported model, computed by this library's graph on ONNX Runtime.</summary>
public sealed class ExportRun
{
    private ExportRun(Dictionary<string, ITensor> outputs, double loss, Dictionary<string, ITensor> gradients)
    {
        Outputs = outputs;
        Loss = loss;
        Gradients = gradients;
    }

    /// <summary>The model's own outputs by name, as the training graph gives them.</summary>
    public IReadOnlyDictionary<string, ITensor> Outputs { get; }

    /// <summary>The loss.</summary>
    public double Loss { get; }

    /// <summary>The gradient of every floating-point initializer, by name.</summary>
    public IReadOnlyDictionary<string, ITensor> Gradients { get; }

    /// <summary>Normalises the model, attaches the case's loss, differentiates by every float weight and runs the result.</summary>
    /// <param name="exported">The case.</param>
    /// <param name="numbers">Which inputs to run: 0, 1 or both.</param>
    public static IReadOnlyList<ExportRun> Of(ExportGradientCase exported, params IEnumerable<int> numbers)
    {
        using OnnxModel model = exported.ReadModel();
        HashSet<string> weights = [.. model.Graph.Initializers.Where(i => i.ElementType.IsFloatingPoint()).Select(i => i.Name)];
        NormalisationPipeline.ForTraining(v => weights.Contains(v.Name)).Run(model);
        return Of(exported, model, weights, numbers);
    }

    /// <summary>As <see cref="Of(ExportGradientCase, IEnumerable{int})"/>, of a model that is normalised already.</summary>
    /// <param name="exported">The case.</param>
    /// <param name="model">The normalised model; extended in place.</param>
    /// <param name="weights">Names of the values to differentiate by; those that normalisation dropped are left out.</param>
    /// <param name="numbers">Which inputs to run.</param>
    public static IReadOnlyList<ExportRun> Of(
        ExportGradientCase exported, OnnxModel model, IReadOnlyCollection<string> weights, IEnumerable<int> numbers)
    {
        OnnxGraph graph = model.Graph;
        string[] outputs = [.. graph.Outputs.Select(o => o.Name)];
        ILossHead head = LossHeads.Get(exported.LossKind switch
        {
            "causal_lm" => "causal-lm",
            "cross_entropy" => "cross-entropy",
            _ => exported.LossKind,
        });
        LossAttachment attached = head.Attach(model, graph.GetValue(exported.LossOutput));
        Dictionary<Value, string> values = weights.Where(w => graph.TryGetValue(w, out _)).ToDictionary(graph.GetValue, w => w);
        foreach (Node node in graph.Nodes.Where(n => n.Is("DequantizeLinear") && n.Inputs[0]!.IsConstant))
        {
            values[node.Outputs[0]] = node.Inputs[0]!.Name + ".dequantized";
        }

        IReadOnlyDictionary<Value, Value> gradients = GradientBuilder.Build(model, attached.Loss, null, values.Keys);
        graph.AddOutput(attached.Loss);
        foreach (Value gradient in gradients.Values)
        {
            graph.AddOutput(gradient);
        }

        using InferenceSession session = OrtRunner.Open(model);
        List<ExportRun> runs = [];
        foreach (int number in numbers)
        {
            ITensor label = exported.Label(number) ?? throw new ArgumentException($"case{number} of {exported.Name} has no labels.", nameof(numbers));
            Dictionary<string, ITensor> feeds = exported.Inputs(number).Where(i => graph.Inputs.Any(g => g.Name == i.Key)).ToDictionary();
            feeds[attached.Target.Name] = label;
            IReadOnlyDictionary<string, ITensor> results = OrtRunner.Run(session, feeds);
            runs.Add(new ExportRun(
                outputs.ToDictionary(o => o, o => results[o]),
                results[attached.Loss.Name].ToFloats()[0],
                gradients.ToDictionary(g => values[g.Key], g => results[g.Value.Name])));
        }

        return runs;
    }
}

using OrtQLoRA.CustomOps;
using OrtQLoRA.Graph.Gradients;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Passes;
using OrtQLoRA.Graph.Rewriting;

namespace OrtQLoRA.Trainer.Benchmarks;

/// <summary>
/// What a fused operator stands for, spelled out in standard operators, and the models that come of it: as it is and rewritten to the native
/// operator, forward alone and with the gradient by what is trained.
/// </summary>
/// <param name="model">The pattern; its inputs are what is fed, its output is named y.</param>
/// <param name="trained">Names of the inputs to differentiate by.</param>
/// <param name="isLoss">Whether y is a loss of one element; otherwise its gradient is fed as <c>dy</c>.</param>
internal sealed class FusedPattern(Func<OnnxModel> model, IReadOnlyList<string> trained, bool isLoss = false)
{
    /// <summary>Name of the output.</summary>
    internal const string Output = "y";

    /// <summary>Name of the input that the gradient of y is fed as.</summary>
    internal const string OutputGradient = "dy";

    /// <summary>Builds one of the models.</summary>
    /// <param name="operators">The native operators that must be in it; none leaves the pattern as it is.</param>
    /// <param name="withGradient">Whether it computes gradients as well.</param>
    /// <param name="compute">Arithmetic of the native operators.</param>
    /// <exception cref="InvalidOperationException">The rewrite did not find the pattern.</exception>
    internal OnnxModel Build(IReadOnlyList<string> operators, bool withGradient, Int8Compute compute)
    {
        OnnxModel built = model();
        OnnxGraph graph = built.Graph;
        bool isNative = operators.Count > 0;
        Value y = graph.Outputs.Single();
        GraphBuilder b = new(graph, built.Opset);

        // Fusions leave graph outputs alone; ONNX Runtime removes the copy.
        graph.RemoveOutput(y);
        Value copy = b.Op("Identity", [y]);
        graph.AddOutput(copy);
        Value? sum = null;
        if (withGradient && !isLoss)
        {
            sum = b.Op("ReduceSum", [b.Mul(y, graph.AddInput(OutputGradient, DataType.Float, y.Shape!))], ("keepdims", 0));
            graph.AddOutput(sum);
        }

        if (isNative)
        {
            new NativeOperatorPass(compute, trained).Run(built);
        }

        if (withGradient)
        {
            Differentiate(built, sum ?? copy.Producer!.Inputs[0]!, isNative);
        }

        if (sum is not null)
        {
            graph.RemoveOutput(sum);
        }

        new DeadNodeEliminationPass().Run(built);
        string[] missing = [.. operators.Where(o => !graph.Nodes.Any(n => n.Is(o, OpCatalog.Domain)))];
        return missing.Length == 0 ? built : throw new InvalidOperationException($"The benchmark's pattern did not become {string.Join(", ", missing)}.");
    }

    private void Differentiate(OnnxModel built, Value loss, bool isNative)
    {
        OnnxGraph graph = built.Graph;
        Value[] sources = [.. trained.Select(graph.GetValue)];
        Node? weighted = isLoss ? null : graph.GetValue(OutputGradient).Uses.Single().Node;
        GradientOptions options = isNative ? new GradientOptions { Rules = NativeGradientRules.CreateRegistry() } : new GradientOptions();
        IReadOnlyDictionary<Value, Value> gradients = GradientBuilder.Build(built, loss, null, sources, options);
        foreach (Value source in sources)
        {
            graph.AddOutput(gradients[source]);
        }

        // The gradient of the sum multiplies dy by one, which is no work of the operator's.
        Node[] products = weighted is null ? [] : [.. graph.GetValue(OutputGradient).Uses.Select(u => u.Node).Where(n => n != weighted)];
        foreach (Node product in products)
        {
            product.Outputs[0].ReplaceAllUsesWith(graph.GetValue(OutputGradient));
        }
    }
}

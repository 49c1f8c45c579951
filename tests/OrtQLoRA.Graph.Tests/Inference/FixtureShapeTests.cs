using Microsoft.ML.OnnxRuntime;
using OrtQLoRA.Graph.Inference;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Passes;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Inference;

/// <summary>Every inner value of every exported model: what is inferred is what ONNX Runtime computes.</summary>
[TestClass]
public sealed class FixtureShapeTests
{
    // Sizes that only data decide: what the branches of an If have in common, a reshape by unrelated sizes.
    private static readonly string[] WithUndecidedSizes = ["optimum_t5_merged_if", "dyn18_whisper"];

    [TestMethod]
    [DynamicData(nameof(ExportCase.Models), typeof(ExportCase))]
    public void Run_ExportedModel_TypesAndShapesAreThoseOfOnnxRuntime(string path)
    {
        using ExportCase export = ExportCase.Open(path);
        using OnnxModel model = export.ReadModel();
        new FunctionInliningPass().Run(model);
        new ShapeInferencePass().Run(model);
        CompareInnerValues(path, export, model);
    }

    [TestMethod]
    [DynamicData(nameof(ExportCase.Models), typeof(ExportCase))]
    public void ForTraining_ExportedModel_LeavesTypesAndShapesOfOnnxRuntime(string path)
    {
        using ExportCase export = ExportCase.Open(path);
        using OnnxModel model = export.ReadModel();
        NormalisationPipeline.ForTraining().Run(model);
        CompareInnerValues(path, export, model);
    }

    [TestMethod]
    [DynamicData(nameof(ExportCase.Models), typeof(ExportCase))]
    public void Run_Twice_ChangesNothing(string path)
    {
        using ExportCase export = ExportCase.Open(path);
        using OnnxModel model = export.ReadModel();
        new ShapeInferencePass().Run(model);
        Assert.IsFalse(new ShapeInferencePass().Run(model));
    }

    private static void CompareInnerValues(string path, ExportCase export, OnnxModel model)
    {
        Value[] values = [.. model.Graph.Nodes.SelectMany(n => n.Outputs).Where(o => o.Name.Length > 0)];
        foreach (Value value in values.Where(v => !v.IsGraphOutput))
        {
            model.Graph.AddOutput(value);
        }

        foreach (IReadOnlyDictionary<string, ITensor> feeds in export.Feeds(model))
        {
            Compare(values, SymbolValues(model, feeds), OrtRunner.Run(model, feeds, GraphOptimizationLevel.ORT_DISABLE_ALL), WithUndecidedSizes.Any(path.Contains));
        }
    }

    private static Dictionary<string, long?> SymbolValues(OnnxModel model, IReadOnlyDictionary<string, ITensor> feeds)
    {
        Dictionary<string, long?> values = [];
        foreach (Value input in model.Graph.Inputs.Where(i => feeds.ContainsKey(i.Name)))
        {
            for (int axis = 0; axis < input.Shape!.Rank; axis++)
            {
                if (input.Shape[axis].Symbol is string symbol)
                {
                    values.TryAdd(symbol, feeds[input.Name].Dims[axis]);
                }
            }
        }

        return values;
    }

    private static void Compare(Value[] values, Dictionary<string, long?> symbols, IReadOnlyDictionary<string, ITensor> actual, bool mayBeOpen)
    {
        List<string> faults = [];
        foreach (Value value in values)
        {
            ITensor tensor = actual[value.Name];
            long?[]? inferred = value.Shape?.Select(d => SymbolicExpression.From(d)?.Evaluate(symbols.GetValueOrDefault)).ToArray();
            bool fits = value.ElementType == tensor.ElementType && inferred?.Length == tensor.Dims.Length
                && inferred.Zip(tensor.Dims).All(p => p.First is null ? mayBeOpen : p.First == p.Second);
            if (!fits)
            {
                faults.Add($"{value} by {value.Producer} is {tensor.ElementType.OnnxName()}[{string.Join(", ", tensor.Dims)}]");
            }
        }

        Assert.IsEmpty(faults, string.Join("\n", faults.Take(20)));
    }
}

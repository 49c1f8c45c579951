using Microsoft.ML.OnnxRuntime;
using OrtQLoRA.Graph.Inference;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Inference;

/// <summary>Each rule against an expectation written by hand, and that against ONNX Runtime.</summary>
[TestClass]
public sealed class InferenceRuleTests
{
    public static IEnumerable<object[]> All => InferenceRuleData.All.Select(c => new object[] { c.Operation, c.Inputs, c.Attributes, c.Outputs, c.Opset });

    public static IEnumerable<object[]> Runnable =>
        InferenceRuleData.All.Where(c => c.Runs).Select(c => new object[] { c.Operation, c.Inputs, c.Attributes, c.Outputs, c.Opset });

    [TestMethod]
    [DynamicData(nameof(All))]
    public void Infer_Call_GivesTypeAndShape(string operation, string inputs, string attributes, string outputs, long opset) =>
        Assert.AreEqual(outputs, new RuleCase(operation, inputs, attributes, outputs.Split(';').Length, opset).Infer());

    [TestMethod]
    [DynamicData(nameof(Runnable))]
    public void Infer_Call_AgreesWithOnnxRuntime(string operation, string inputs, string attributes, string outputs, long opset)
    {
        RuleCase rule = new(operation, inputs, attributes, outputs.Split(';').Length, opset);
        rule.Infer();
        IReadOnlyDictionary<string, ITensor> actual = OrtRunner.Run(rule.Model, rule.Feeds(), GraphOptimizationLevel.ORT_DISABLE_ALL);
        foreach (Value output in rule.Node.Outputs)
        {
            ITensor tensor = actual[output.Name];
            Assert.AreEqual(tensor.ElementType, output.ElementType, output.Name);
            string dims = string.Join(", ", tensor.Dims);
            Assert.AreEqual(tensor.Dims.Length, output.Shape!.Rank, $"{output} is [{dims}]");
            for (int axis = 0; axis < tensor.Dims.Length; axis++)
            {
                Assert.AreEqual(tensor.Dims[axis], RuleCase.Size(output.Shape[axis]) ?? tensor.Dims[axis], $"{output} is [{dims}]");
            }
        }
    }

    [TestMethod]
    public void Data_EveryRegisteredOperator_HasACase()
    {
        HashSet<string> tested = [.. InferenceRuleData.All.Select(c => c.Operation)];
        string[] subgraphs = ["If", "Loop", "Scan"];
        string[] missing = [.. OperatorRegistry.Operators.Select(o => o.Domain.Length == 0 ? o.OpType : $"{o.Domain}::{o.OpType}").Where(o => !tested.Contains(o)).Except(subgraphs).Order()];
        Assert.IsEmpty(missing, $"operators without a case in {nameof(InferenceRuleData)}: {string.Join(", ", missing)}");
    }
}

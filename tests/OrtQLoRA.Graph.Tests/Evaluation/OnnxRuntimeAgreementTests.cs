using OrtQLoRA.Graph.Evaluation;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Tests.Evaluation.OrtCases;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Evaluation;

/// <summary>Every kernel against ONNX Runtime over a table of shapes, types and attributes.</summary>
[TestClass]
public sealed class OnnxRuntimeAgreementTests
{
    /// <summary>Random operators have no common numbers; If has a test of its own, and Scan runs in the gradients of recurrent layers, which are compared with ONNX Runtime's.</summary>
    private static readonly (string Domain, string OpType)[] CheckedElsewhere =
    [
        ("", "RandomUniform"), ("", "RandomUniformLike"), ("", "RandomNormal"), ("", "RandomNormalLike"), ("", "Bernoulli"), ("", "If"), ("", "Scan"),
    ];

    public static IEnumerable<object[]> ElementwiseRows => ElementwiseCases.All().Select(c => new object[] { c });

    public static IEnumerable<object[]> ShapeRows => ShapeCases.All().Select(c => new object[] { c });

    public static IEnumerable<object[]> ReductionRows => ReductionCases.All().Select(c => new object[] { c });

    public static IEnumerable<object[]> IndexRows => IndexCases.All().Select(c => new object[] { c });

    public static IEnumerable<object[]> ProductRows => ProductCases.All().Select(c => new object[] { c });

    public static IEnumerable<object[]> NormalizationRows => NormalizationCases.All().Select(c => new object[] { c });

    public static IEnumerable<object[]> RecurrentRows => RecurrentCases.All().Select(c => new object[] { c });

    public static IEnumerable<object[]> WindowRows => WindowCases.All().Select(c => new object[] { c });

    [TestMethod]
    [DynamicData(nameof(ElementwiseRows))]
    public void Run_ElementwiseOperator_AgreesWithOnnxRuntime(OrtCase row) => Check(row);

    [TestMethod]
    [DynamicData(nameof(ShapeRows))]
    public void Run_ShapeOperator_AgreesWithOnnxRuntime(OrtCase row) => Check(row);

    [TestMethod]
    [DynamicData(nameof(ReductionRows))]
    public void Run_ReductionOperator_AgreesWithOnnxRuntime(OrtCase row) => Check(row);

    [TestMethod]
    [DynamicData(nameof(IndexRows))]
    public void Run_IndexOperator_AgreesWithOnnxRuntime(OrtCase row) => Check(row);

    [TestMethod]
    [DynamicData(nameof(ProductRows))]
    public void Run_ProductOperator_AgreesWithOnnxRuntime(OrtCase row) => Check(row);

    [TestMethod]
    [DynamicData(nameof(NormalizationRows))]
    public void Run_NormalizationOperator_AgreesWithOnnxRuntime(OrtCase row) => Check(row);

    [TestMethod]
    [DynamicData(nameof(RecurrentRows))]
    public void Run_RecurrentOperator_AgreesWithOnnxRuntime(OrtCase row) => Check(row);

    [TestMethod]
    [DynamicData(nameof(WindowRows))]
    public void Run_WindowOperator_AgreesWithOnnxRuntime(OrtCase row) => Check(row);

    [TestMethod]
    public void Kernels_ThatOnnxRuntimeCanCheck_HaveRows()
    {
        OrtCase[] rows =
            [.. ElementwiseCases.All(), .. ShapeCases.All(), .. ReductionCases.All(), .. IndexCases.All(), .. ProductCases.All(), .. NormalizationCases.All(), .. RecurrentCases.All(), .. WindowCases.All()];
        (string, string)[] missing = [.. new KernelRegistry().Operators.Except(rows.Select(r => (r.Domain, r.OpType))).Except(CheckedElsewhere)];
        Assert.IsEmpty(missing, $"Add rows for {string.Join(", ", missing)}.");
    }

    private static void Check(OrtCase row)
    {
        OnnxModel model = NodeRunner.Build(row.OpType, row.Inputs, row.Outputs, row.Opset, row.Domain, row.Attributes);
        Dictionary<string, ReferenceTensor> feeds = NodeRunner.Feeds(row.Inputs);
        IReadOnlyDictionary<string, ReferenceTensor> actual = new ReferenceEvaluator(model, EvaluationMode.Typed).Run(feeds);
        IReadOnlyDictionary<string, ITensor> expected = OrtRunner.Run(model, feeds.ToDictionary(f => f.Key, f => f.Value.ToTensor()));
        foreach ((string name, ITensor tensor) in expected)
        {
            NodeRunner.AreEqual(ReferenceTensor.From(tensor), actual[name], row.Tolerance);
        }
    }
}

using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Passes;
using OrtQLoRA.Graph.Rewriting;
using OrtQLoRA.Graph.Rewriting.Rules;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Rewriting;

[TestClass]
public sealed class PowStrengthReductionTests
{
    [TestMethod]
    [DataRow(1, "Identity")]
    [DataRow(2, "Mul")]
    [DataRow(0.5, "Sqrt")]
    [DataRow(-1, "Reciprocal")]
    public void Run_CheapExponent_ReplacesThePowerByAnEqualOperator(double exponent, string opType)
    {
        using OnnxModel original = Model(b => b.Scalar((float)exponent));
        using OnnxModel model = ModelCloner.Clone(original);
        RewritePass pass = new(new PowStrengthReduction());

        Assert.IsTrue(pass.Run(model));
        new DeadNodeEliminationPass().Run(model);

        Assert.AreEqual(1, pass.Applied[nameof(PowStrengthReduction)]);
        Assert.IsFalse(model.Graph.Nodes.Any(n => n.Is("Pow")));
        Assert.IsTrue(model.Graph.Nodes.Any(n => n.Is(opType)));
        Dictionary<string, ITensor> feeds = new() { ["x"] = DenseTensor.Vector(0.25f, 1f, 2f, 9f) };
        TensorAssert.AreClose(OrtRunner.Run(original, feeds)["y"], OrtRunner.Run(model, feeds)["y"], 1e-6);
    }

    [TestMethod]
    public void Run_OtherExponents_StayAndAreReported()
    {
        foreach ((Func<GraphBuilder, Value> exponent, string reason) in new (Func<GraphBuilder, Value>, string)[]
        {
            (b => b.Scalar(3f), "no operator is cheaper for the exponent 3"),
            (b => b.Graph.GetValue("x"), "not a constant scalar"),
        })
        {
            using OnnxModel model = Model(exponent);
            RewritePass pass = new(new PowStrengthReduction());

            Assert.IsFalse(pass.Run(model));
            StringAssert.Contains(pass.Misses.Single(), reason);
        }
    }

    [TestMethod]
    public void Run_PowerThatIsAGraphOutput_KeepsItsName()
    {
        using OnnxModel model = Model(b => b.Scalar(2f));
        model.Graph.AddOutput(model.Graph.Nodes.Single(n => n.Is("Pow")).Outputs[0]);

        Assert.IsFalse(new RewritePass(new PowStrengthReduction()).Run(model));
    }

    private static OnnxModel Model(Func<GraphBuilder, Value> exponent)
    {
        OnnxGraph graph = new("g");
        OnnxModel model = new(graph) { Opset = 18 };
        Value x = graph.AddInput("x", DataType.Float, new Shape(4));
        GraphBuilder builder = new(graph, model.Opset);
        Value y = builder.Neg(builder.Op("Pow", [x, exponent(builder)]));
        y.Name = "y";
        graph.AddOutput(y);
        return model;
    }
}

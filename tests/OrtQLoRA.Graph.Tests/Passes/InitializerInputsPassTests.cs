using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Passes;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Passes;

[TestClass]
public sealed class InitializerInputsPassTests
{
    [TestMethod]
    public void Run_InitializersAmongInputs_BecomeConstants()
    {
        OnnxModel model = GraphText.Model();
        model.IrVersion = 3;
        model.Graph.Input("x", DataType.Float, 2, 3);
        Value weight = model.Graph.AddInput("w", DataType.Float, new Shape(Dimension.Of("rows"), Dimension.Unknown));
        model.Graph.SetInitializer(weight, DenseTensor.Of([3, 2], new float[6]));
        model.Graph.Line("y = MatMul(x, w)");
        model.Graph.Outputs("y");
        Assert.IsTrue(new InitializerInputsPass().Run(model));
        Assert.AreEqual("x", string.Join(", ", model.Graph.Inputs.Select(i => i.Name)));
        Assert.IsTrue(weight.IsConstant);
        Assert.AreEqual("w: float[3, 2]", weight.ToString());
        Assert.AreEqual(4, model.IrVersion, "earlier files must list initializers as inputs");
        Assert.IsFalse(new InitializerInputsPass().Run(model));
    }
}

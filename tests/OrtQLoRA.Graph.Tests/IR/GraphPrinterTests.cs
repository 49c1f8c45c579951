using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Tests.IR;

[TestClass]
public sealed class GraphPrinterTests
{
    [TestMethod]
    public void Print_SmallModel_ReadsLikeAProgram()
    {
        OnnxModel model = SmallModel();
        Assert.AreEqual(
            """
            model ir 10, opset 21, com.microsoft 1 by "test 1.0"
            metadata author = "me"
            graph main (x: float[batch, 3], flag: bool[]) -> (y: float[batch, 2], last) {
              initializer w: float[3, 4]
              initializer axes: int64[2] {0, -1}
              default flag: bool[] {true}
              initializer words: string[2] {"a", "b \"c\""}
              h: float[batch, 4] = MatMul(x, w)  # /mlp/MatMul
              y: float[batch, 2], _ = com.microsoft.Act<alpha = 0.1, mode = "tanh", pads = [1, 2], value = float16[1] {0.5}>(h, _, axes)
              last = If(flag)  # choose
                then_branch =
                  graph then () -> (t) {
                    t = Neg(h)
                  }
                else_branch =
                  graph else () -> (e) {
                    initializer c: float[] {1.5}
                    e = Add(h, c)
                  }
            }
            function com.microsoft.Act, opset 20<alpha, mode = "relu"> (i) -> (o) {
              o = Elu<alpha = @alpha>(i)
            }

            """.ReplaceLineEndings("\n"),
            GraphPrinter.Print(model));
    }

    [TestMethod]
    public void Print_NamesOfUntrustedFiles_CannotBreakLines()
    {
        OnnxGraph graph = new("a b\n\u001b[31m");
        graph.AddInput("x\ny", DataType.Float, null);
        Assert.AreEqual("graph \"a b\\n\\u001b[31m\" (\"x\\ny\": float[...]) -> () {\n}\n", GraphPrinter.Print(graph));
    }

    [TestMethod]
    public void Print_Node_PrintsThatNode() =>
        Assert.AreEqual("h: float[batch, 4] = MatMul(x, w)  # /mlp/MatMul\n", GraphPrinter.Print(SmallModel().Graph.First!));

    internal static OnnxModel SmallModel()
    {
        OnnxGraph graph = new("main");
        Value x = graph.AddInput("x", DataType.Float, new Shape(Dimension.Of("batch"), 3));
        Value flag = graph.AddInput("flag", DataType.Bool, Shape.Scalar);
        Value w = graph.AddInitializer("w", DenseTensor.Of([3, 4], new float[12]));
        Value axes = graph.AddInitializer("axes", DenseTensor.Vector(0L, -1L));
        graph.SetInitializer(flag, DenseTensor.Scalar(true));
        graph.AddInitializer("words", new StringTensor([2], ["a"u8.ToArray(), "b \"c\""u8.ToArray()]));
        Node matMul = graph.AddNode("MatMul", [x, w], "/mlp/MatMul");
        Value h = matMul.AddOutput("h", new OnnxType.Tensor(DataType.Float, new Shape(Dimension.Of("batch"), 4)));
        Node act = graph.AddNode("Act", [h, null, axes], "", "com.microsoft");
        act.SetAttribute("alpha", 0.1f);
        act.SetAttribute("mode", "tanh");
        act.SetAttribute("pads", new long[] { 1, 2 });
        act.SetAttribute("value", DenseTensor.Vector((Half)0.5));
        graph.AddOutput(act.AddOutput("y", new OnnxType.Tensor(DataType.Float, new Shape(Dimension.Of("batch"), 2))));
        act.AddOutput("");
        Node choice = graph.AddNode("If", [flag], "choose");
        OnnxGraph then = new("then", graph);
        then.AddOutput(then.AddNode("Neg", [h], "").AddOutput("t"));
        choice.SetAttribute("then_branch", NodeAttribute.Of(then));
        OnnxGraph otherwise = new("else", graph);
        Value c = otherwise.AddInitializer("c", DenseTensor.Scalar(1.5f));
        otherwise.AddOutput(otherwise.AddNode("Add", [h, c], "").AddOutput("e"));
        choice.SetAttribute("else_branch", NodeAttribute.Of(otherwise));
        graph.AddOutput(choice.AddOutput("last"));

        OnnxGraph body = new("Act");
        Node elu = body.AddNode("Elu", [body.AddInput("i", null)], "");
        elu.SetAttribute("alpha", NodeAttribute.Reference("alpha", AttributeKind.Float));
        body.AddOutput(elu.AddOutput("o"));
        OnnxFunction function = new("com.microsoft", "Act", "", body);
        function.RequiredAttributes.Add("alpha");
        function.OptionalAttributes["mode"] = "relu";
        function.OpsetImports[""] = 20;

        OnnxModel model = new(graph) { Opset = 21, ProducerName = "test", ProducerVersion = "1.0" };
        model.OpsetImports["com.microsoft"] = 1;
        model.Metadata["author"] = "me";
        model.Functions.Add(function);
        return model;
    }
}

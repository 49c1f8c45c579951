using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.Adapters.Lora;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Passes;
using OrtQLoRA.Graph.Quantization;
using OrtQLoRA.Graph.Quantization.Eetq;
using OrtQLoRA.Graph.Rewriting;
using OrtQLoRA.Graph.Rewriting.Rules;
using OrtQLoRA.Graph.Tests.Adapters;

namespace OrtQLoRA.Graph.Tests.Rewriting;

[TestClass]
public sealed class ProductBiasFusionTests
{
    private const string Domain = "ortqlora";
    private const int Width = 6;

    [TestMethod]
    [DataRow("MatMulInt8", 3, true)]
    [DataRow("MatMulInt8", 3, false)]
    [DataRow("LoraLinear", 5, true)]
    public void Run_BiasOnEitherSide_BecomesTheProducts(string op, int place, bool biasFirst)
    {
        (OnnxModel model, Node product, Value bias, _) = Build(op, Width, biasFirst);

        Assert.IsTrue(new RewritePass(new ProductBiasFusion()).Run(model));

        Assert.AreSame(bias, product.Inputs[place]);
        Assert.AreSame(product.Outputs[0], model.Graph.Outputs[0].Producer!.Inputs[0], "The sum's reader reads the product.");
    }

    [TestMethod]
    [DataRow("shorter")]
    [DataRow("read twice")]
    [DataRow("another bias")]
    [DataRow("computed")]
    [DataRow("half")]
    public void Run_WhatIsNoBiasOfTheProduct_StaysApart(string what)
    {
        (OnnxModel model, Node product, Value bias, Node add) = Build("MatMulInt8", what == "shorter" ? 1 : Width, biasFirst: false, what == "half" ? DataType.Float16 : DataType.Float);
        GraphBuilder builder = new(model.Graph, model.Opset);
        switch (what)
        {
            case "read twice":
                model.Graph.AddOutput(builder.Op("Neg", [product.Outputs[0]]));
                break;
            case "another bias":
                product.AddInput(bias);
                break;
            case "computed":
                add.SetInput(1, new GraphBuilder(model.Graph, model.Opset, add).Op("Neg", [bias]));
                break;
        }

        Assert.IsFalse(new RewritePass(new ProductBiasFusion()).Run(model));
        Assert.AreSame(product.Outputs[0], add.Inputs[0]);
    }

    [TestMethod]
    public void Run_LoraBesideAProductOverRows_TakesTheBiasBehindTheReshape()
    {
        using OnnxModel model = SmallDecoder.Build();
        NormalisationPipeline.ForTraining(v => v.Initializer is not null && v.ElementType.IsFloatingPoint() && v.Initializer.ElementCount() > 1).Run(model);
        new WeightQuantizationPass(new EetqInt8Format()).Run(model);
        AdapterInsertionPass adapter = new(new LoraMethod(), new LoraConfig { Rank = 2 });
        adapter.Run(model);

        new NativeOperatorPass(Int8Compute.Fp32, adapter.Inserted.Parameters.Select(p => p.Name)).Run(model);

        Node linear = model.Graph.Nodes.Single(n => n.Is("LoraLinear", Domain));
        Assert.AreEqual("model.fc.bias", linear.Inputs[5]!.Name);
        Assert.IsFalse(model.Graph.Nodes.Any(n => n.Is("Add")), "Nothing is left to add.");
        GraphVerifier.Verify(model);
    }

    private static (OnnxModel Model, Node Product, Value Bias, Node Add) Build(string op, int biasLength, bool biasFirst, DataType type = DataType.Float)
    {
        OnnxGraph graph = new("bias");
        OnnxModel model = new(graph) { Opset = 21, IrVersion = 10 };
        model.OpsetImports[Domain] = 1;
        GraphBuilder builder = new(graph, model.Opset);
        Value x = graph.AddInput("x", type, new Shape(Dimension.Of("rows"), Dimension.Of(4)));
        Value q = graph.AddInitializer("q", DenseTensor.Of([4, Width], new sbyte[4 * Width]));
        Value scale = graph.AddInitializer("scale", DenseTensor.Vector(new float[Width]));
        Value[] branch = op == "LoraLinear"
            ? [graph.AddInitializer("a", DenseTensor.Of([2, 4], new float[8])), graph.AddInitializer("b", DenseTensor.Of([Width, 2], new float[2 * Width]))]
            : [];
        Node product = builder.Emit(op, Domain, [x, q, scale, .. branch], op == "LoraLinear" ? 2 : 1);
        product.SetAttribute("K", 4);
        product.SetAttribute("N", Width);
        product.Outputs[0].Type = new OnnxType.Tensor(type, new Shape(Dimension.Of("rows"), Dimension.Of(Width)));
        Value bias = graph.AddInitializer("bias", SmallDecoder.Weights(type, 1, biasLength));
        Value sum = biasFirst ? builder.Add(bias, product.Outputs[0]) : builder.Add(product.Outputs[0], bias);
        graph.AddOutput(builder.Op("Relu", [sum]));
        return (model, product, bias, sum.Producer!);
    }
}

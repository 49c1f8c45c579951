using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Tests.Linears;

[TestClass]
public sealed class LinearFinderTests
{
    private readonly OnnxGraph _graph = new("g");

    [TestMethod]
    public void Find_MatMulWithConstantRight_IsLinearInByOut()
    {
        Node node = Emit("MatMul", "/a/fc/MatMul", X(), Weight("onnx::MatMul_1", 4, 3));

        LinearSite site = Find().Sites.Single();

        Assert.AreEqual(("a.fc", 4L, 3L, false, false), (site.ModulePath, site.InFeatures, site.OutFeatures, site.IsOutByIn, site.IsWeightLeft));
        Assert.AreSame(node, site.Node);
    }

    [TestMethod]
    public void Find_MatMulWithConstantLeft_IsLinearOutByIn()
    {
        Emit("MatMul", "/a/fc/MatMul", Weight("onnx::MatMul_1", 4, 3), X());

        LinearSite site = Find().Sites.Single();

        Assert.AreEqual((3L, 4L, true, true), (site.InFeatures, site.OutFeatures, site.IsOutByIn, site.IsWeightLeft));
    }

    [TestMethod]
    [DataRow(0L, 4L, 3L, false)]
    [DataRow(1L, 3L, 4L, true)]
    public void Find_Gemm_ReadsTransBAndBias(long transB, long inFeatures, long outFeatures, bool isOutByIn)
    {
        Value bias = _graph.AddInitializer("fc.bias", Floats(outFeatures));
        Node gemm = Emit("Gemm", "/fc/Gemm", X(), Weight("fc.weight", 4, 3), bias);
        gemm.SetAttribute("transB", transB);
        gemm.SetAttribute("alpha", 2f);

        LinearSite site = Find().Sites.Single();

        Assert.AreEqual((inFeatures, outFeatures, isOutByIn), (site.InFeatures, site.OutFeatures, site.IsOutByIn));
        Assert.AreSame(bias, site.Bias);
        Assert.AreSame(gemm, site.BiasNode);
        Assert.AreEqual(2f, site.WeightFactor);
    }

    [TestMethod]
    public void Find_WeightBehindCastTransposeAndIdentity_FollowsTheChain()
    {
        Value weight = _graph.AddInitializer("m.fc.weight", new DenseTensor(DataType.Float16, [3, 4], new byte[24]));
        Node transpose = Emit("Transpose", "t", Emit("Identity", "i", weight).Outputs[0]);
        Node cast = Emit("Cast", "c", transpose.Outputs[0]);
        cast.SetAttribute("to", (long)DataType.Float);
        Emit("MatMul", "MatMul_7", X(), cast.Outputs[0]);

        LinearSite site = Find().Sites.Single();

        Assert.AreSame(weight, site.Weight);
        Assert.AreEqual(("m.fc", true, 4L, 3L, 3), (site.ModulePath, site.IsOutByIn, site.InFeatures, site.OutFeatures, site.WeightChain.Count));
    }

    [TestMethod]
    [DataRow(true)]
    [DataRow(false)]
    public void Find_AddOfVectorInEitherOrder_IsTheBias(bool biasFirst)
    {
        Value product = Emit("MatMul", "/fc/MatMul", X(), Weight("onnx::MatMul_1", 4, 3)).Outputs[0];
        Value bias = _graph.AddInitializer("fc.bias", Floats(3));
        Node add = biasFirst ? Emit("Add", "/fc/Add", bias, product) : Emit("Add", "/fc/Add", product, bias);

        LinearSite site = Find().Sites.Single();

        Assert.AreSame(bias, site.Bias);
        Assert.AreSame(add, site.BiasNode);
    }

    [TestMethod]
    public void Find_BiasBehindReshape_IsFound()
    {
        Value product = Emit("MatMul", "/fc/MatMul", X(), Weight("onnx::MatMul_1", 4, 3)).Outputs[0];
        Value shape = _graph.AddInitializer("shape", DenseTensor.Vector(2L, -1L, 3L));
        Value reshaped = Emit("Reshape", "/fc/Reshape", product, shape).Outputs[0];
        Value bias = _graph.AddInitializer("fc.bias", Floats(3));
        Emit("Add", "/fc/Add", reshaped, bias);

        Assert.AreSame(bias, Find().Sites.Single().Bias);
    }

    [TestMethod]
    public void Find_ProductWithSecondReader_HasNoBias()
    {
        Value product = Emit("MatMul", "/fc/MatMul", X(), Weight("onnx::MatMul_1", 4, 3)).Outputs[0];
        Emit("Add", "/fc/Add", product, _graph.AddInitializer("fc.bias", Floats(3)));
        Emit("Relu", "/fc/Relu", product);

        Assert.IsNull(Find().Sites.Single().Bias);
    }

    [TestMethod]
    public void Find_VectorAddedByAnotherModule_IsNoBias()
    {
        Value product = Emit("MatMul", "/fc/MatMul", X(), Weight("onnx::MatMul_1", 4, 3)).Outputs[0];
        Emit("Add", "/block/Add", product, _graph.AddInitializer("block.shift", Floats(3)));

        Assert.IsNull(Find().Sites.Single().Bias);
    }

    [TestMethod]
    public void Find_UnnamedWeightWithNamedBias_IsNamedByTheBias()
    {
        Value product = Emit("MatMul", "MatMul_12", X(), Weight("1203", 4, 3)).Outputs[0];
        Emit("Add", "Add_13", product, _graph.AddInitializer("encoder.fc.bias", Floats(3)));

        Assert.AreEqual("encoder.fc", Find().Sites.Single().ModulePath);
    }

    [TestMethod]
    public void Find_DynamoMetadata_GivesThePath()
    {
        Node node = Emit("MatMul", "node_linear_1", X(), Weight("val_75", 4, 3));
        node.Metadata["pkg.torch.onnx.name_scopes"] = "['', 'model', 'model.layers.0@1', 'model.layers.0.q_proj@1', 'linear_1']";

        Assert.AreEqual("model.layers.0.q_proj", Find().Sites.Single().ModulePath);
    }

    [TestMethod]
    public void Find_EarlyDynamoMetadata_GivesThePath()
    {
        Node node = Emit("MatMul", "node_linear_1", X(), Weight("val_75", 4, 3));
        node.Metadata["namespace"] = ": Model/layers: torch.nn.ModuleList/layers.0.q_proj: torch.nn.modules.linear.Linear/linear_1: aten.linear.default";

        Assert.AreEqual("layers.0.q_proj", Find().Sites.Single().ModulePath);
    }

    [TestMethod]
    public void Find_OneWeightAtSeveralNodes_IsOneModule()
    {
        Value weight = Weight("onnx::MatMul_1", 4, 4);
        Value first = Emit("MatMul", "/layer/query/MatMul", X(), weight).Outputs[0];
        Emit("MatMul", "/layer/query_1/MatMul", first, weight);

        LinearSites sites = Find();

        Assert.AreEqual("layer.query", sites.Modules.Single().Path);
        Assert.HasCount(2, sites.Modules.Single().Sites);
        Assert.AreEqual("layer.query.weight", sites.Parameters.Single().Name);
    }

    [TestMethod]
    public void Find_TiedEmbeddingAndHead_AreTwoModules()
    {
        Value table = Weight("model.embed_tokens.weight", 10, 4);
        Value ids = _graph.AddInput("ids", DataType.Int64, null);
        Value hidden = Emit("Gather", "/n1/Gather", table, ids).Outputs[0];
        Value transposed = Emit("Transpose", "t", table).Outputs[0];
        _graph.AddOutput(Emit("MatMul", "/lm_head/MatMul", hidden, transposed).Outputs[0]);

        LinearSites sites = Find();

        CollectionAssert.AreEqual(new[] { "model.embed_tokens", "lm_head" }, sites.Modules.Select(m => m.Path).ToArray());
        Assert.IsTrue(sites.Modules[1].IsOutputHead);
        CollectionAssert.AreEqual(new[] { "model.embed_tokens.weight", "lm_head.weight" }, sites.Parameters.Select(p => p.Name).ToArray());
    }

    [TestMethod]
    public void Find_TwoWeightsInOneModule_HaveDifferentPaths()
    {
        Value first = Emit("MatMul", "/mixer/MatMul", X(), Weight("onnx::MatMul_1", 4, 4)).Outputs[0];
        Emit("MatMul", "/mixer/MatMul_1", first, Weight("onnx::MatMul_2", 4, 4));

        CollectionAssert.AreEqual(new[] { "mixer", "mixer.MatMul_1" }, Find().Modules.Select(m => m.Path).ToArray());
    }

    [TestMethod]
    public void Find_RotaryFrequencies_AreNoLinear()
    {
        Emit("MatMul", "/n7/MatMul", X(), Weight("model.rotary.inv_freq", 1, 8));

        Assert.IsEmpty(Find().Sites);
    }

    [TestMethod]
    public void Find_ConstantNodeAsWeight_IsFound()
    {
        Node constant = Emit("Constant", "/fc/Constant");
        constant.SetAttribute("value", Floats(4, 3));
        Emit("MatMul", "/fc/MatMul", X(), constant.Outputs[0]);

        Assert.AreEqual("fc", Find().Sites.Single().ModulePath);
    }

    [TestMethod]
    public void Find_CachedKeyProjection_IsNoOutputHead()
    {
        Value key = Emit("MatMul", "/layers.0/k_proj/MatMul", X(), Weight("onnx::MatMul_1", 4, 4)).Outputs[0];
        Value head = Emit("MatMul", "/lm_head/MatMul", key, Weight("onnx::MatMul_2", 4, 9)).Outputs[0];
        head.Name = "logits";
        _graph.AddOutput(head);
        _graph.AddOutput(Emit("Identity", "present", key).Outputs[0]);

        CollectionAssert.AreEqual(new[] { false, true }, Find().Modules.Select(m => m.IsOutputHead).ToArray());
    }

    private static DenseTensor Floats(params long[] dims) => DenseTensor.Of(dims, new float[dims.Aggregate(1L, (a, b) => a * b)]);

    private Value X() => _graph.TryGetValue("x", out Value? x) ? x : _graph.AddInput("x", DataType.Float, null);

    private Value Weight(string name, params long[] dims) => _graph.AddInitializer(name, Floats(dims));

    private Node Emit(string opType, string name, params Value?[] inputs)
    {
        Node node = _graph.AddNode(opType, inputs, name);
        node.AddOutput(_graph.Names.Reserve(name + "_out"));
        return node;
    }

    private LinearSites Find()
    {
        OnnxModel model = new(_graph) { Opset = 21 };
        return LinearFinder.Find(model);
    }
}

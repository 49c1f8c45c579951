using System.Collections.Immutable;
using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.Adapters.Lora;
using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Graph.Export;
using OrtQLoRA.Graph.Export.OnnxAdapter;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Adapters.Lora;

[TestClass]
public sealed class ConvolutionLoraTests
{
    [TestMethod]
    [DataRow(new long[] { 3 }, 2L, 1L, 1L, DataType.Float)]
    [DataRow(new long[] { 3, 2 }, 1L, 2L, 0L, DataType.Float)]
    [DataRow(new long[] { 1, 1 }, 1L, 1L, 0L, DataType.Float)]
    [DataRow(new long[] { 2, 2, 2 }, 1L, 1L, 1L, DataType.Float)]
    [DataRow(new long[] { 3, 3 }, 2L, 1L, 1L, DataType.Float16)]
    public void Merge_Convolution_EqualsTheBranchBeside(long[] kernel, long stride, long dilation, long pad, DataType type)
    {
        using OnnxModel beside = Build(kernel, stride, dilation, pad, type: type);
        LoraConfig config = Config();
        config.HasLoraBias = true;
        InsertedAdapter inserted = Insert(beside, config);
        Dictionary<string, ITensor> values = Values(inserted);
        CollectionAssert.AreEqual((long[])[2, 4, .. kernel], inserted.ToWeights(n => values[n]).Tensors["base_model.model.conv.lora_A.weight"].Dims.ToArray());
        CollectionAssert.AreEqual((long[])[6, 2, .. kernel.Select(_ => 1L)], inserted.ToWeights(n => values[n]).Tensors["base_model.model.conv.lora_B.weight"].Dims.ToArray());

        using OnnxModel merged = Build(kernel, stride, dilation, pad, type: type);
        MergedModelExporter.Merge(merged, inserted.ToWeights(n => values[n]));

        Dictionary<string, ITensor> feeds = Feeds(kernel.Length, type);
        using OnnxModel untouched = Build(kernel, stride, dilation, pad, type: type);
        ITensor expected = OrtRunner.Run(beside, feeds.Concat(values).ToDictionary())["y"];
        TensorAssert.AreClose(expected, OrtRunner.Run(merged, feeds)["y"], type == DataType.Float ? 1e-6 : 2e-3);
        Assert.IsGreaterThan(0.05, TensorAssert.RelativeL2<float>(expected.ToFloats(), OrtRunner.Run(untouched, feeds)["y"].ToFloats()));
    }

    [TestMethod]
    public void Insert_GroupedConvolution_ReadsAllChannelsAndMixesWithinGroups()
    {
        using OnnxModel beside = Build([3], 1, 1, 1, groups: 2);
        InsertedAdapter inserted = Insert(beside, Config());
        Dictionary<string, ITensor> values = Values(inserted);
        float[] a = values["conv.lora_A.weight"].ToFloats();
        float[] b = values["conv.lora_B.weight"].ToFloats();

        // Rank 2 in 2 groups: each half of the outputs sees one row of A, over all four channels. Scaling is 4 / 2.
        float[] dense = [.. Enumerable.Range(0, 6).SelectMany(o => Enumerable.Range(0, 12).Select(i => 2 * b[o] * a[(o / 3 * 12) + i]))];
        using OnnxModel delta = Build([3], 1, 1, 1);
        delta.Graph.SetInitializer(delta.Graph.GetValue("conv.weight"), DenseTensor.Of([6, 4, 3], dense));
        delta.Graph.SetInitializer(delta.Graph.GetValue("conv.bias"), DenseTensor.Of([6], new float[6]));
        using OnnxModel original = Build([3], 1, 1, 1, groups: 2);

        Dictionary<string, ITensor> feeds = Feeds(1, DataType.Float);
        float[] expected = [.. OrtRunner.Run(original, feeds)["y"].ToFloats().Zip(OrtRunner.Run(delta, feeds)["y"].ToFloats(), (x, y) => x + y)];
        TensorAssert.AreClose(expected, OrtRunner.Run(beside, feeds.Concat(values).ToDictionary())["y"].ToFloats(), 1e-6);

        string message = Assert.ThrowsExactly<ConfigurationException>(() => MergedModelExporter.Merge(original, inserted.ToWeights(n => values[n]))).Message;
        StringAssert.Contains(message, "2 groups");
    }

    [TestMethod]
    public void Plan_WhatConvolutionsCannotTake_IsRefusedByName()
    {
        LoraConfig dora = Config();
        dora.UseDora = true;
        LoraConfig pissa = Config();
        pissa.Initialization = LoraInitialization.Pissa;
        LoraConfig odd = Config();
        odd.Rank = 3;

        Assert.IsTrue(Message(dora, 1).Contains("use_dora", StringComparison.Ordinal));
        Assert.IsTrue(Message(pissa, 1).Contains("'Pissa'", StringComparison.Ordinal));
        Assert.IsTrue(Message(odd, 2).Contains("2 groups, of which rank 3", StringComparison.Ordinal));

        static string Message(LoraConfig config, long groups)
        {
            using OnnxModel model = Build([3], 1, 1, 1, groups);
            string message = Assert.ThrowsExactly<ConfigurationException>(() => Insert(model, config)).Message;
            Assert.IsTrue(message.Contains("'conv'", StringComparison.Ordinal), message);
            return message;
        }
    }

    [TestMethod]
    public void Split_Convolution_IsRefusedForOnnxAdapters()
    {
        using OnnxModel model = Build([3], 1, 1, 1);
        AdapterWeights adapter = Insert(model, Config()).InitialWeights();
        using OnnxModel target = Build([3], 1, 1, 1);

        StringAssert.Contains(Assert.ThrowsExactly<ConfigurationException>(() => OnnxAdapterExporter.Split(target, [adapter], DataType.Float)).Message, "'conv'");
    }

    private static LoraConfig Config() => new() { Rank = 2, Alpha = 4, TargetModules = ModuleSelector.OfNames("conv") };

    private static InsertedAdapter Insert(OnnxModel model, LoraConfig config)
    {
        AdapterInsertionPass pass = new(new LoraMethod(), config) { Seed = 3 };
        pass.Run(model);
        return pass.Inserted;
    }

    private static Dictionary<string, ITensor> Values(InsertedAdapter inserted) =>
        inserted.Parameters.Select((p, i) => (p.Name, Value: SmallDecoder.Weights(DataType.Float, 10 + i, [.. p.InitialValue.Dims]))).ToDictionary(p => p.Name, p => p.Value);

    // Channels 4 to 6, with a bias.
    private static OnnxModel Build(long[] kernel, long stride, long dilation, long pad, long groups = 1, DataType type = DataType.Float)
    {
        OnnxGraph graph = new("conv");
        OnnxModel model = new(graph) { Opset = 21, IrVersion = 10 };
        Value x = graph.AddInput("x", type, Shape.Of(Feeds(kernel.Length, type)["x"].Dims));
        GraphBuilder b = new(graph, 21);
        Value weight = graph.AddInitializer("conv.weight", SmallDecoder.Weights(type, 1, [6, 4 / groups, .. kernel]));
        Value bias = graph.AddInitializer("conv.bias", SmallDecoder.Weights(type, 2, 6));
        Value y = b.Op(
            "Conv",
            [x, weight, bias],
            ("kernel_shape", kernel),
            ("strides", Enumerable.Repeat(stride, kernel.Length).ToArray()),
            ("dilations", Enumerable.Repeat(dilation, kernel.Length).ToArray()),
            ("pads", Enumerable.Repeat(pad, 2 * kernel.Length).ToArray()),
            ("group", groups));
        y.Name = "y";
        graph.AddOutput(y);
        return model;
    }

    private static Dictionary<string, ITensor> Feeds(int axes, DataType type) =>
        new() { ["x"] = SmallDecoder.Weights(type, 4, [2, 4, .. Enumerable.Repeat(7L, axes)]) };
}

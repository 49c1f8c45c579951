using System.Collections.Immutable;
using Google.Protobuf;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.Graph.Serialization.Protos;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Serialization;

[TestClass]
public sealed class OnnxModelWriterTests
{
    [TestMethod]
    public void Write_ExternalData_AlignsTensorsAndKeepsSmallOnesInside()
    {
        using TemporaryFolder folder = new();
        OnnxModel model = Model(("a", Floats(100)), ("b", Floats(300)), ("small", Floats(3)), ("c", Floats(257)));
        string path = folder.File("m.onnx");
        OnnxModelWriter.Write(model, path, new ExternalDataOptions { Threshold = 400, Alignment = 4096 });
        Assert.AreEqual(2 * 4096 + 257 * 4, new FileInfo(path + ".data").Length);
        using OnnxModel again = OnnxModelReader.Read(path);
        CollectionAssert.AreEqual(
            new[] { "a:0", "b:4096", "small:-", "c:8192" },
            again.Graph.Initializers.Select(i => $"{i.Name}:{(i.Initializer is ExternalTensor e ? e.Offset : "-")}").ToArray());
        foreach (Value value in model.Graph.Initializers)
        {
            TensorAssert.AreEqual(value.Initializer!, again.Graph.GetValue(value.Name).Initializer!, value.Name);
        }

        CollectionAssert.AreEquivalent(new[] { "m.onnx", "m.onnx.data" }, Directory.GetFiles(folder.Path).Select(Path.GetFileName).ToArray());
    }

    [TestMethod]
    public void Write_TensorOfSeveralNames_StoresItOnce()
    {
        using TemporaryFolder folder = new();
        ITensor tied = Floats(64);
        OnnxModelWriter.Write(Model(("embed", tied), ("head", tied)), folder.File("m.onnx"), new ExternalDataOptions { Threshold = 0, FileName = "w.bin" });
        Assert.AreEqual(64 * 4, new FileInfo(folder.File("w.bin")).Length);
        using OnnxModel again = OnnxModelReader.Read(folder.File("m.onnx"));
        TensorAssert.AreEqual(tied, again.Graph.GetValue("head").Initializer!);
    }

    [TestMethod]
    public void Write_OverItsOwnFiles_Works()
    {
        using TemporaryFolder folder = new();
        string path = folder.File("m.onnx");
        OnnxModelWriter.Write(Model(("a", Floats(1000))), path, new ExternalDataOptions());
        using (OnnxModel model = OnnxModelReader.Read(path))
        {
            model.Graph.SetInitializer(model.Graph.GetValue("a"), model.Graph.GetValue("a").Initializer!);
            OnnxModelWriter.Write(model, path, new ExternalDataOptions { Alignment = 4096 });
        }

        using OnnxModel again = OnnxModelReader.Read(path);
        TensorAssert.AreEqual(Floats(1000), again.Graph.GetValue("a").Initializer!);
    }

    [TestMethod]
    [DataRow("../w.bin", 0L, 64, "plain file name")]
    [DataRow("", 0L, 64, "plain file name")]
    [DataRow("m.onnx", 0L, 64, "like the model itself")]
    [DataRow(null, -1L, 64, "threshold is -1")]
    [DataRow(null, 0L, 48, "a power of two is expected")]
    public void Write_WrongOptions_SaysWhichAndWritesNothing(string? fileName, long threshold, int alignment, string expected)
    {
        using TemporaryFolder folder = new();
        ExternalDataOptions options = new() { FileName = fileName, Threshold = threshold, Alignment = alignment };
        ConfigurationException e = Assert.ThrowsExactly<ConfigurationException>(() => OnnxModelWriter.Write(Model(("a", Floats(1))), folder.File("m.onnx"), options));
        StringAssert.Contains(e.Message, expected);
        Assert.IsEmpty(Directory.GetFiles(folder.Path));
    }

    [TestMethod]
    public void Write_MoreThanAMessageHolds_NamesTheOption()
    {
        // Each alone fits; the sum does not. Nothing is read before the sizes are known.
        OnnxModel model = Model(("a", new CountingTensor(1L << 30)), ("b", new CountingTensor(1L << 30)));
        StringAssert.Contains(Assert.ThrowsExactly<ConfigurationException>(() => OnnxModelWriter.ToBytes(model)).Message, "ExternalDataOptions");
        model = Model(("a", new CountingTensor(3L << 30)));
        StringAssert.Contains(Assert.ThrowsExactly<ConfigurationException>(() => OnnxModelWriter.ToBytes(model)).Message, "ExternalDataOptions");
    }

    [TestMethod]
    [DataRow(true)]
    [DataRow(false)]
    public void Write_LargeTensor_StreamsInParts(bool external)
    {
        using TemporaryFolder folder = new();
        CountingTensor tensor = new(5_000_001);
        OnnxModelWriter.Write(Model(("a", tensor)), folder.File("m.onnx"), external ? new ExternalDataOptions() : null);
        Assert.IsLessThanOrEqualTo(1 << 20, tensor.LargestRead);
        using OnnxModel again = OnnxModelReader.Read(folder.File("m.onnx"));
        TensorAssert.AreEqual(tensor, again.Graph.GetValue("a").Initializer!);
    }

    [TestMethod]
    [DataRow(true)]
    [DataRow(false)]
    public void Write_TensorThatFails_LeavesTheOldFiles(bool external)
    {
        using TemporaryFolder folder = new();
        string path = folder.File("m.onnx");
        File.WriteAllText(path, "old");
        File.WriteAllText(path + ".data", "old data");
        OnnxModel model = Model(("a", new CountingTensor(3_000_000) { FailsAt = 2_000_000 }));
        Assert.ThrowsExactly<NotSupportedException>(() => OnnxModelWriter.Write(model, path, external ? new ExternalDataOptions() : null));
        Assert.AreEqual("old", File.ReadAllText(path));
        Assert.AreEqual("old data", File.ReadAllText(path + ".data"));
        Assert.HasCount(2, Directory.GetFiles(folder.Path));
    }

    [TestMethod]
    public void Write_FolderThatDoesNotExist_SaysSo()
    {
        using TemporaryFolder folder = new();
        FileWriteException e = Assert.ThrowsExactly<FileWriteException>(() => OnnxModelWriter.Write(Model(("a", Floats(1))), Path.Combine(folder.Path, "no", "m.onnx")));
        StringAssert.Contains(e.Message, "does not exist");
    }

    [TestMethod]
    public void ToBytes_SuppliedInitializers_KeepTypeAndShapeButNoData()
    {
        OnnxModel model = Model(("a", Floats(1000)), ("b", Floats(2)));
        ModelProto proto = ModelProto.Parser.ParseFrom(OnnxModelWriter.ToBytes(model, v => v.Name == "a" ? "block" : null));
        TensorProto a = proto.Graph.Initializer[0];
        Assert.IsTrue(a.RawData.IsEmpty);
        Assert.AreEqual(1, a.DataLocation);
        Assert.AreEqual("block", a.ExternalData[0].Value);
        CollectionAssert.AreEqual(new[] { 1000L }, a.Dims);
        Assert.AreEqual(8, proto.Graph.Initializer[1].RawData.Length);
    }

    [TestMethod]
    public void Write_FieldsThatTheIrDoesNotModel_Survive()
    {
        ModelProto model = Everything();
        byte[] bytes = model.ToByteArray();
        using OnnxModel read = OnnxModelReader.Read(bytes);
        using OnnxModel clone = ModelCloner.Clone(read);
        Assert.AreEqual(CanonicalProto.Read(bytes, null), CanonicalProto.Read(OnnxModelWriter.ToBytes(clone), null));
    }

    [TestMethod]
    public void Write_FieldsOfAFutureVersion_Survive()
    {
        // Field 1999 of varint type, in the model, its graph, a node, an attribute, a tensor and a type.
        ModelProto model = ProtoModels.Model(ProtoModels.Weighted(ProtoModels.Tensor("w", DataType.Float, [1], new byte[4])));
        model.Graph.Node[0].Attribute.Add(new AttributeProto { Name = "a", Type = (int)AttributeKind.Int, I = 1 });
        Func<IMessage, byte[]> extended = m => [.. m.ToByteArray(), 0xF8, 0x7C, 0x05];
        model.Graph.Node[0].Attribute[0] = AttributeProto.Parser.ParseFrom(extended(model.Graph.Node[0].Attribute[0]));
        model.Graph.Node[0] = NodeProto.Parser.ParseFrom(extended(model.Graph.Node[0]));
        model.Graph.Initializer[0] = TensorProto.Parser.ParseFrom(extended(model.Graph.Initializer[0]));
        model.Graph.Input[0].Type = TypeProto.Parser.ParseFrom(extended(model.Graph.Input[0].Type));
        model.Graph = GraphProto.Parser.ParseFrom(extended(model.Graph));
        model = ModelProto.Parser.ParseFrom(extended(model));
        using OnnxModel read = ProtoModels.Read(model);
        Assert.AreEqual(model, ModelProto.Parser.ParseFrom(OnnxModelWriter.ToBytes(read)));
    }

    [TestMethod]
    public void Write_DescriptionOfAChangedValue_FollowsTheChange()
    {
        GraphProto graph = ProtoModels.Weighted(ProtoModels.Tensor("w", DataType.Float, [1], new byte[4]));
        graph.Input[0].Type.Denotation = "IMAGE";
        using OnnxModel model = ProtoModels.Read(graph);
        ValueInfoProto input = ModelProto.Parser.ParseFrom(OnnxModelWriter.ToBytes(model)).Graph.Input[0];
        Assert.AreEqual("IMAGE", input.Type.Denotation);
        model.Graph.Inputs[0].Type = new OnnxType.Tensor(DataType.Double, Shape.Scalar);
        input = ModelProto.Parser.ParseFrom(OnnxModelWriter.ToBytes(model)).Graph.Input[0];
        Assert.AreEqual((int)DataType.Double, input.Type.TensorType.ElemType);
    }

    [TestMethod]
    public void Write_FunctionWithInitializer_IsRefused()
    {
        OnnxModel model = Model(("a", Floats(1)));
        OnnxGraph body = new("f");
        body.AddInitializer("w", Floats(1));
        model.Functions.Add(new OnnxFunction("d", "f", "", body));
        StringAssert.Contains(Assert.ThrowsExactly<GraphException>(() => OnnxModelWriter.ToBytes(model)).Message, "Make it a Constant node");
    }

    /// <summary>A model that uses every message and nearly every field of the format.</summary>
    internal static ModelProto Everything()
    {
        GraphProto graph = ProtoModels.Weighted(ProtoModels.Tensor("w", DataType.Float, [1], new byte[4]));
        graph.DocString = "graph doc";
        graph.MetadataProps.Add(new StringStringEntryProto { Key = "k", Value = "v" });
        graph.Initializer[0].DocString = "weight doc";
        graph.Initializer[0].MetadataProps.Add(new StringStringEntryProto { Key = "origin", Value = "test" });
        graph.QuantizationAnnotation.Add(new TensorAnnotation { TensorName = "w", QuantParameterTensorNames = { new StringStringEntryProto { Key = "SCALE_TENSOR", Value = "s" } } });
        graph.SparseInitializer.Add(new SparseTensorProto
        {
            Values = ProtoModels.Tensor("s", DataType.Float, [2], [0, 0, 128, 63, 0, 0, 0, 64]),
            Indices = ProtoModels.Tensor("", DataType.Int64, [2], [1, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0]),
            Dims = { 2, 3 },
        });
        graph.ValueInfo.Add(ProtoModels.Value("removed", DataType.Float, 3));
        graph.Input[0].Type.TensorType.Shape.Dim[0].Denotation = "DATA_BATCH";
        graph.Input.Add(new ValueInfoProto { Name = "seq", Type = new() { SequenceType = new() { ElemType = new() { MapType = new() { KeyType = 7, ValueType = new() { OptionalType = new() { ElemType = new() { SparseTensorType = new() { ElemType = 1 } } } } } } } } });
        graph.Input.Add(new ValueInfoProto { Name = "opaque", Type = new() { OpaqueType = new() { Domain = "d", Name = "n" } } });
        NodeProto node = ProtoModels.Node("Custom", ["x", "s"], ["z"], "custom");
        node.Domain = "my.domain";
        node.Overload = "second";
        node.DocString = "node doc";
        node.MetadataProps.Add(new StringStringEntryProto { Key = "scope", Value = "layers.0" });
        node.DeviceConfigurations.Add(new NodeDeviceConfigurationProto { ConfigurationId = "two", PipelineStage = 1, ShardingSpec = { new ShardingSpecProto { TensorName = "x", Device = { 0, 1 } } } });
        node.Attribute.Add(new AttributeProto { Name = "strings", Type = (int)AttributeKind.Strings, Strings = { ByteString.CopyFromUtf8("a"), ByteString.Empty }, DocString = "attribute doc" });
        node.Attribute.Add(new AttributeProto { Name = "tensor", Type = (int)AttributeKind.Tensor, T = ProtoModels.Tensor("named", DataType.Int4, [3], [0x21, 0x03]) });
        node.Attribute.Add(new AttributeProto { Name = "tensors", Type = (int)AttributeKind.Tensors, Tensors = { ProtoModels.Tensor("t0", DataType.Float, [0], []), ProtoModels.Tensor("", DataType.UInt8, [1], [9]) } });
        node.Attribute.Add(new AttributeProto { Name = "sparse", Type = (int)AttributeKind.SparseTensor, SparseTensor = graph.SparseInitializer[0].Clone() });
        node.Attribute.Add(new AttributeProto { Name = "type", Type = (int)AttributeKind.Type, Tp = graph.Input[1].Type.Clone() });
        node.Attribute.Add(new AttributeProto { Name = "types", Type = (int)AttributeKind.Types, TypeProtos = { graph.Input[2].Type.Clone() } });
        node.Attribute.Add(new AttributeProto { Name = "floats", Type = (int)AttributeKind.Floats });
        node.Attribute.Add(new AttributeProto { Name = "graphs", Type = (int)AttributeKind.Graphs, Graphs = { Subgraph("one"), Subgraph("two") } });
        node.Attribute.Add(new AttributeProto { Name = "newer", Type = 99, I = 4 });
        graph.Node.Add(node);
        ModelProto model = ProtoModels.Model(graph);
        model.OpsetImport.Add(new OperatorSetIdProto { Domain = "my.domain", Version = 3 });
        model.ProducerName = "p";
        model.ProducerVersion = "1";
        model.Domain = "org.example";
        model.ModelVersion = 7;
        model.DocString = "doc";
        model.MetadataProps.Add(new StringStringEntryProto { Key = "author", Value = "a" });
        model.TrainingInfo.Add(new TrainingInfoProto { Algorithm = Subgraph("step"), UpdateBinding = { new StringStringEntryProto { Key = "w", Value = "w2" } } });
        model.Configuration.Add(new DeviceConfigurationProto { Name = "two", NumDevices = 2, Device = { "a", "b" } });
        NodeProto inner = ProtoModels.Node("Neg", ["i"], ["o"]);
        inner.Attribute.Add(new AttributeProto { Name = "alpha", Type = (int)AttributeKind.Float, RefAttrName = "alpha" });
        model.Functions.Add(new FunctionProto
        {
            Name = "Custom",
            Domain = "my.domain",
            Overload = "second",
            SinceVersion = 3,
            DocString = "function doc",
            Input = { "i", "j" },
            Output = { "o" },
            Attribute = { "strings" },
            AttributeProto = { new AttributeProto { Name = "alpha", Type = (int)AttributeKind.Float, F = 0.5f } },
            Node = { inner },
            OpsetImport = { new OperatorSetIdProto { Version = 20 } },
            ValueInfo = { ProtoModels.Value("o", DataType.Float, 1) },
            MetadataProps = { new StringStringEntryProto { Key = "k", Value = "v" } },
        });
        return model;
    }

    private static GraphProto Subgraph(string name) => new()
    {
        Name = name,
        Initializer = { ProtoModels.Tensor("c", DataType.Float, [1], new byte[4]) },
        Node = { ProtoModels.Node("Add", ["c", "c"], ["r"]) },
        Output = { ProtoModels.Value("r", DataType.Float, 1) },
    };

    private static OnnxModel Model(params (string Name, ITensor Content)[] initializers)
    {
        OnnxGraph graph = new("g");
        foreach ((string name, ITensor content) in initializers)
        {
            graph.AddInitializer(name, content);
        }

        return new OnnxModel(graph) { Opset = 21 };
    }

    private static DenseTensor Floats(int count) => DenseTensor.Vector([.. Enumerable.Range(0, count).Select(i => i * 0.5f)]);

    /// <summary>A tensor of any size that takes no memory: byte i is i modulo 251.</summary>
    private sealed class CountingTensor(long length) : ITensor
    {
        public long FailsAt { get; init; } = long.MaxValue;

        public int LargestRead { get; private set; }

        public DataType ElementType => DataType.UInt8;

        public ImmutableArray<long> Dims => [length];

        public long ByteLength => length;

        public void Read(long byteOffset, Span<byte> destination)
        {
            LargestRead = Math.Max(LargestRead, destination.Length);
            if (byteOffset + destination.Length > FailsAt)
            {
                throw new NotSupportedException("the source failed");
            }

            for (int i = 0; i < destination.Length; i++)
            {
                destination[i] = (byte)((byteOffset + i) % 251);
            }
        }
    }
}

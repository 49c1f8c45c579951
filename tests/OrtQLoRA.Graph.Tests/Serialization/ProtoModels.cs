using Google.Protobuf;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.Graph.Serialization.Protos;

namespace OrtQLoRA.Graph.Tests.Serialization;

/// <summary>Builds model messages by hand, so that tests can write what no exporter would.</summary>
internal static class ProtoModels
{
    /// <summary>A model around a graph, with what every reader wants in the header.</summary>
    public static ModelProto Model(GraphProto graph) =>
        new() { IrVersion = 10, Graph = graph, OpsetImport = { new OperatorSetIdProto { Domain = "", Version = 21 } } };

    public static GraphProto Graph(params NodeProto[] nodes) => new() { Name = "g", Node = { nodes } };

    public static NodeProto Node(string opType, string[] inputs, string[] outputs, string name = "") =>
        new() { OpType = opType, Input = { inputs }, Output = { outputs }, Name = name };

    public static ValueInfoProto Value(string name, DataType type = DataType.Float, params long[] dims)
    {
        TensorShapeProto shape = new();
        shape.Dim.AddRange(dims.Select(d => new TensorShapeProto.Types.Dimension { DimValue = d }));
        return new ValueInfoProto { Name = name, Type = new TypeProto { TensorType = new() { ElemType = (int)type, Shape = shape } } };
    }

    public static TensorProto Tensor(string name, DataType type, long[] dims, byte[]? raw = null)
    {
        TensorProto proto = new() { Name = name, DataType = (int)type, Dims = { dims } };
        if (raw is not null)
        {
            proto.RawData = ByteString.CopyFrom(raw);
        }

        return proto;
    }

    public static TensorProto External(string name, DataType type, long[] dims, string? location, string? offset = null, string? length = null)
    {
        TensorProto proto = Tensor(name, type, dims);
        proto.DataLocation = 1;
        foreach ((string key, string? value) in new[] { ("location", location), ("offset", offset), ("length", length) })
        {
            if (value is not null)
            {
                proto.ExternalData.Add(new StringStringEntryProto { Key = key, Value = value });
            }
        }

        return proto;
    }

    /// <summary>A graph <c>y = x * w</c> with an initializer for w.</summary>
    public static GraphProto Weighted(params TensorProto[] initializers)
    {
        GraphProto graph = Graph(Node("Mul", ["x", initializers[0].Name], ["y"]));
        graph.Input.Add(Value("x", (DataType)initializers[0].DataType, 1));
        graph.Output.Add(Value("y", (DataType)initializers[0].DataType, 1));
        graph.Initializer.AddRange(initializers);
        return graph;
    }

    public static OnnxModel Read(GraphProto graph, string? folder = null) => Read(Model(graph), folder);

    public static OnnxModel Read(ModelProto model, string? folder = null) => OnnxModelReader.Read(model.ToByteArray(), folder);

    /// <summary>Reads what must be refused and checks the message.</summary>
    public static string Refuse(GraphProto graph, string expected, string? folder = null) => Refuse(Model(graph).ToByteArray(), expected, folder);

    /// <summary>Reads what must be refused and checks the message.</summary>
    public static string Refuse(byte[] bytes, string expected, string? folder = null)
    {
        ModelFormatException e = Assert.ThrowsExactly<ModelFormatException>(() => OnnxModelReader.Read(bytes, folder));
        StringAssert.Contains(e.Message, expected);
        return e.Message;
    }
}

using Google.Protobuf.Collections;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Serialization.Protos;

namespace OrtQLoRA.Graph.Serialization;

/// <summary>
/// Turns graph and function messages into graphs, linking every name to the value it stands for: one of the
/// graph itself, or one that a graph around it has made so far.
/// </summary>
internal sealed class GraphProtoReader
{
    private readonly ReadContext _context;
    private readonly AttributeProtoReader _attributes;
    private readonly Stack<OpenScope> _scopes = new();

    public GraphProtoReader(ReadContext context)
    {
        _context = context;
        _attributes = new AttributeProtoReader(context, ReadGraph);
    }

    /// <summary>Reads a graph; clears the modelled fields of the message.</summary>
    /// <param name="proto">The message.</param>
    /// <param name="parent">For a subgraph: the graph around it.</param>
    public OnnxGraph ReadGraph(GraphProto proto, OnnxGraph? parent)
    {
        OnnxGraph graph = new(proto.Name, parent) { DocString = proto.HasDocString ? proto.DocString : null };
        foreach (ValueInfoProto input in proto.Input)
        {
            Describe(graph.AddInput(CheckName(input.Name, "an input", graph), TypeProtoConverter.ToType(input.Type)), input);
        }

        ReadInitializers(proto, graph);
        ReadNodes(proto.Node, graph);
        foreach (ValueInfoProto output in proto.Output)
        {
            ReadOutput(output, graph);
        }

        ReadValueInfo(proto.ValueInfo, graph);
        FileDetails.Take(proto.MetadataProps, graph.Metadata);
        proto.ClearName();
        proto.ClearDocString();
        proto.Node.Clear();
        proto.Input.Clear();
        proto.Output.Clear();
        graph.Unmodelled = FileDetails.Remainder(proto);
        return graph;
    }

    /// <summary>Reads a function; clears the modelled fields of the message.</summary>
    public OnnxFunction ReadFunction(FunctionProto proto)
    {
        string owner = $"function '{proto.Domain}::{proto.Name}'";
        OnnxGraph body = new(proto.Name);
        foreach (string input in proto.Input)
        {
            body.AddInput(CheckName(input, "an input", body), null);
        }

        ReadNodes(proto.Node, body);
        foreach (string output in proto.Output)
        {
            body.AddOutput(FindOutput(output, body));
        }

        ReadValueInfo(proto.ValueInfo, body);
        OnnxFunction function = new(proto.Domain, CheckName(proto.Name, "a function", body), proto.Overload, body)
        {
            DocString = proto.HasDocString ? proto.DocString : null,
        };
        foreach (string attribute in proto.Attribute)
        {
            function.RequiredAttributes.Add(attribute);
        }

        foreach (AttributeProto attribute in proto.AttributeProto)
        {
            string name = attribute.Name;
            if (!function.OptionalAttributes.TryAdd(name, _attributes.Read(attribute, body, owner)))
            {
                throw _context.Error($"{owner} has two attributes '{name}'.");
            }
        }

        OpsetImports.Read(proto.OpsetImport, function.OpsetImports, owner, _context);
        FileDetails.Take(proto.MetadataProps, function.Metadata);
        proto.ClearName();
        proto.ClearDomain();
        proto.ClearOverload();
        proto.ClearDocString();
        proto.Input.Clear();
        proto.Output.Clear();
        proto.Node.Clear();
        proto.Attribute.Clear();
        proto.AttributeProto.Clear();
        function.Unmodelled = FileDetails.Remainder(proto);
        return function;
    }

    private static void Describe(Value value, ValueInfoProto proto)
    {
        value.DocString ??= proto.HasDocString ? proto.DocString : null;
        FileDetails.Take(proto.MetadataProps, value.Metadata);
        proto.ClearName();
        proto.ClearDocString();

        // A type may say more than the IR models (denotations); then the message's own form is kept beside it.
        if (TypeProtoConverter.ToType(proto.Type) is { } type && TypeProtoConverter.ToProto(type).Equals(proto.Type))
        {
            proto.Type = null;
        }

        ReadOnlyMemory<byte> remainder = FileDetails.Remainder(proto);
        value.Unmodelled = remainder.IsEmpty ? value.Unmodelled : remainder;
    }

    private static Value? Resolve(string name, OnnxGraph graph)
    {
        for (OnnxGraph? scope = graph; scope is not null; scope = scope.Parent)
        {
            if (scope.TryGetValue(name, out Value? value))
            {
                return value;
            }
        }

        return null;
    }

    private void ReadInitializers(GraphProto proto, OnnxGraph graph)
    {
        List<TensorProto> remainders = [];
        foreach ((int index, TensorProto initializer) in proto.Initializer.Index())
        {
            string where = $"initializer '{CheckName(initializer.Name, "an initializer", graph)}'";
            (int Offset, int Length)? place = graph.Parent is null && _context.Inline?.Places.TryGetValue(index, out (int, int) found) == true ? found : null;
            AddInitializer(initializer.Name, TensorProtoReader.Read(initializer, _context, where, place), graph);
            TensorProtoReader.ClearModelled(initializer);
            if (initializer.CalculateSize() > new TensorProto { Name = initializer.Name }.CalculateSize())
            {
                remainders.Add(initializer);
            }
        }

        proto.Initializer.Clear();
        proto.Initializer.AddRange(remainders);
        foreach (SparseTensorProto sparse in proto.SparseInitializer)
        {
            string name = CheckName(sparse.Values?.Name ?? "", "a sparse initializer", graph);
            AddInitializer(name, SparseTensorProtoReader.Read(sparse, _context, $"sparse initializer '{name}'"), graph);
        }

        proto.SparseInitializer.Clear();
    }

    private void AddInitializer(string name, ITensor content, OnnxGraph graph)
    {
        if (!graph.TryGetValue(name, out Value? value))
        {
            graph.AddInitializer(name, content);
        }
        else if (value.Initializer is null)
        {
            graph.SetInitializer(value, content);
        }
        else
        {
            throw _context.Error($"graph '{graph.Name}' has two initializers '{name}'.");
        }
    }

    private void ReadNodes(RepeatedField<NodeProto> protos, OnnxGraph graph)
    {
        OpenScope scope = new(graph, protos);
        _scopes.Push(scope);
        foreach (NodeProto proto in protos)
        {
            ReadNode(proto, graph);
            scope.Position++;
        }

        _scopes.Pop();
    }

    private void ReadNode(NodeProto proto, OnnxGraph graph)
    {
        string described = Describe(proto);
        if (proto.OpType.Length == 0)
        {
            throw _context.Error($"{described} names no operator. The file is damaged.");
        }

        List<Value?> inputs = new(proto.Input.Count);
        foreach (string input in proto.Input)
        {
            inputs.Add(input.Length == 0 ? null : Resolve(input, graph) ?? throw _context.Error(DanglingName.Explain(input, described, _scopes)));
        }

        Node node = graph.AddNode(proto.OpType, inputs, proto.Name, proto.Domain);
        node.Overload = proto.Overload;
        node.DocString = proto.HasDocString ? proto.DocString : null;
        foreach (AttributeProto attribute in proto.Attribute)
        {
            string name = attribute.Name;
            NodeAttribute value = _attributes.Read(attribute, graph, described);
            if (node.Attributes.ContainsKey(name))
            {
                throw _context.Error($"{described} has two attributes '{name}'.");
            }

            node.SetAttribute(name, value);
        }

        foreach (string output in proto.Output)
        {
            node.AddOutput(output);
        }

        FileDetails.Take(proto.MetadataProps, node.Metadata);
        proto.Input.Clear();
        proto.Output.Clear();
        proto.Attribute.Clear();
        proto.ClearName();
        proto.ClearOpType();
        proto.ClearDomain();
        proto.ClearOverload();
        proto.ClearDocString();
        node.Unmodelled = FileDetails.Remainder(proto);
    }

    private void ReadOutput(ValueInfoProto proto, OnnxGraph graph)
    {
        Value value = FindOutput(proto.Name, graph);
        value.Type ??= TypeProtoConverter.ToType(proto.Type);
        Describe(value, proto);
        graph.AddOutput(value);
    }

    private Value FindOutput(string name, OnnxGraph graph)
    {
        if (graph.TryGetValue(name, out Value? value))
        {
            return value;
        }

        throw Resolve(name, graph) is null
            ? _context.Error($"output '{name}' of graph '{graph.Name}' is made by no node and is neither an input nor an initializer.")
            : _context.Error($"output '{name}' of subgraph '{graph.Name}' is a value of the graph around it. Put an Identity node into the subgraph that makes the output from it.");
    }

    private static void ReadValueInfo(RepeatedField<ValueInfoProto> protos, OnnxGraph graph)
    {
        // Some writers leave descriptions of values that optimizers took out, name values of functions here, or
        // describe an input or output a second time in other words: these are carried along as they are.
        List<ValueInfoProto> others = [];
        foreach (ValueInfoProto proto in protos)
        {
            if (!graph.TryGetValue(proto.Name, out Value? value) || value.HasValueInfo)
            {
                others.Add(proto);
            }
            else if (value.IsGraphInput || value.IsGraphOutput)
            {
                value.HasValueInfo = GraphProtoBuilder.BuildValueInfo(value).Equals(proto);
                others.AddRange(value.HasValueInfo ? [] : [proto]);
            }
            else
            {
                value.Type ??= TypeProtoConverter.ToType(proto.Type);
                value.HasValueInfo = true;
                Describe(value, proto);
            }
        }

        protos.Clear();
        protos.AddRange(others);
    }

    private string CheckName(string name, string what, OnnxGraph graph) =>
        name.Length > 0 ? name : throw _context.Error($"{what} of graph '{graph.Name}' has no name. The file is damaged.");

    internal static string Describe(NodeProto proto) =>
        $"'{proto.OpType}'{(proto.Domain.Length == 0 ? "" : $" ({proto.Domain})")} at node '{(proto.Name.Length > 0 ? proto.Name : "making " + proto.Output.FirstOrDefault())}'";

    /// <summary>A graph whose nodes are being read, and how far.</summary>
    internal sealed class OpenScope(OnnxGraph graph, RepeatedField<NodeProto> nodes)
    {
        public OnnxGraph Graph { get; } = graph;

        public RepeatedField<NodeProto> Nodes { get; } = nodes;

        public int Position { get; set; }
    }
}

using System.Collections.Immutable;

namespace OrtQLoRA.Graph.IR;

/// <summary>Copies models: a new graph to edit, over the same tensor contents.</summary>
public sealed class ModelCloner
{
    private readonly Dictionary<Value, Value> _values = [];

    private ModelCloner()
    {
    }

    /// <summary>
    /// Copies a model with its subgraphs, functions and details. Tensors are shared; those in mapped files can be
    /// read for as long as the original model, which owns the mapping, is not disposed.
    /// </summary>
    public static OnnxModel Clone(OnnxModel model)
    {
        ModelCloner cloner = new();
        OnnxModel clone = new(cloner.Clone(model.Graph, parent: null))
        {
            IrVersion = model.IrVersion,
            ProducerName = model.ProducerName,
            ProducerVersion = model.ProducerVersion,
            ModelType = model.ModelType,
            Domain = model.Domain,
            ModelVersion = model.ModelVersion,
            DocString = model.DocString,
            Unmodelled = model.Unmodelled,
        };
        Copy(model.OpsetImports, clone.OpsetImports);
        Copy(model.Metadata, clone.Metadata);
        foreach (OnnxFunction function in model.Functions)
        {
            clone.Functions.Add(cloner.Clone(function));
        }

        return clone;
    }

    private static void Copy<T>(IDictionary<string, T> from, IDictionary<string, T> to)
    {
        foreach ((string key, T value) in from)
        {
            to[key] = value;
        }
    }

    private static void CopyDetails(Value from, Value to)
    {
        to.Type = from.Type;
        to.DocString = from.DocString;
        to.HasValueInfo = from.HasValueInfo;
        to.Unmodelled = from.Unmodelled;
        Copy(from.Metadata, to.Metadata);
    }

    private OnnxGraph Clone(OnnxGraph graph, OnnxGraph? parent)
    {
        OnnxGraph clone = new(graph.Name, parent) { DocString = graph.DocString, Unmodelled = graph.Unmodelled };
        Copy(graph.Metadata, clone.Metadata);
        foreach (Value input in graph.Inputs)
        {
            _values[input] = clone.AddInput(input.Name, input.Type);
            CopyDetails(input, _values[input]);
        }

        foreach (Value initializer in graph.Initializers)
        {
            if (_values.TryGetValue(initializer, out Value? input))
            {
                clone.SetInitializer(input, initializer.Initializer!);
            }
            else
            {
                _values[initializer] = clone.AddInitializer(initializer.Name, initializer.Initializer!);
                CopyDetails(initializer, _values[initializer]);
            }
        }

        foreach (Node node in graph.Nodes)
        {
            Clone(node, clone);
        }

        foreach (Value output in graph.Outputs)
        {
            clone.AddOutput(Map(output));
        }

        return clone;
    }

    private void Clone(Node node, OnnxGraph into)
    {
        Node clone = into.AddNode(node.OpType, node.Inputs.Select(i => i is null ? null : Map(i)), node.Name, node.Domain);
        clone.Overload = node.Overload;
        clone.DocString = node.DocString;
        clone.Unmodelled = node.Unmodelled;
        Copy(node.Metadata, clone.Metadata);
        foreach ((string name, NodeAttribute attribute) in node.Attributes)
        {
            clone.SetAttribute(name, Clone(attribute, into));
        }

        foreach (Value output in node.Outputs)
        {
            Value copy = clone.AddOutput(output.Name, output.Type);
            _values[output] = copy;
            CopyDetails(output, copy);
        }
    }

    private NodeAttribute Clone(NodeAttribute attribute, OnnxGraph parent) => attribute.Kind switch
    {
        AttributeKind.Graph when attribute.ReferenceName is null =>
            NodeAttribute.Of(Clone(attribute.AsGraph(), parent)).WithFileDetails(attribute.DocString, attribute.Unmodelled),
        AttributeKind.Graphs when attribute.ReferenceName is null =>
            NodeAttribute.Of(attribute.AsGraphs().Select(g => Clone(g, parent)).ToImmutableArray()).WithFileDetails(attribute.DocString, attribute.Unmodelled),
        _ => attribute,
    };

    private OnnxFunction Clone(OnnxFunction function)
    {
        OnnxFunction clone = new(function.Domain, function.Name, function.Overload, Clone(function.Body, parent: null))
        {
            DocString = function.DocString,
            Unmodelled = function.Unmodelled,
        };
        foreach (string attribute in function.RequiredAttributes)
        {
            clone.RequiredAttributes.Add(attribute);
        }

        foreach ((string name, NodeAttribute attribute) in function.OptionalAttributes)
        {
            clone.OptionalAttributes[name] = Clone(attribute, clone.Body);
        }

        Copy(function.OpsetImports, clone.OpsetImports);
        Copy(function.Metadata, clone.Metadata);
        return clone;
    }

    private Value Map(Value value) => _values.TryGetValue(value, out Value? copy)
        ? copy
        : throw new GraphException($"Value '{value.Name}' is read before it is made, or belongs to another model. Sort the nodes before copying the model.");
}

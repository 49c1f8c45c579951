using System.Diagnostics.CodeAnalysis;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Inference;

/// <summary>One operator call as rules see it: types and contents of inputs, attributes, and where outputs' types go.</summary>
internal sealed class OperatorCall
{
    internal OperatorCall(Node node, InferenceContext context)
    {
        Node = node;
        Context = context;
        Opset = context.OpsetOf(node.Domain);
    }

    internal Node Node { get; }

    internal InferenceContext Context { get; }

    /// <summary>Version of the operator's own domain.</summary>
    internal long Opset { get; }

    internal bool HasInput(int index) => Node.InputOrNull(index) is not null;

    internal bool HasAttribute(string name) => Node.Attributes.ContainsKey(name);

    /// <summary>A subgraph that the operator must have.</summary>
    /// <exception cref="GraphException">The attribute is missing.</exception>
    internal OnnxGraph Subgraph(string attribute) => Node.Attributes.TryGetValue(attribute, out NodeAttribute? graph)
        ? graph.AsGraph()
        : throw Error($"attribute '{attribute}', a subgraph, is missing");

    /// <summary>Element type of an input; Undefined if unknown.</summary>
    internal DataType TypeOf(int input) => Node.InputOrNull(input)?.ElementType ?? DataType.Undefined;

    /// <summary>Shape of an input; null if the rank is unknown or the input is left out.</summary>
    internal Shape? ShapeOf(int input) => Node.InputOrNull(input) is Value value ? Context.ShapeOf(value) : null;

    internal bool TryGetShape(int input, [NotNullWhen(true)] out Shape? shape) => (shape = ShapeOf(input)) is not null;

    /// <summary>Followed content of an input, or null.</summary>
    internal SymbolicTensor? ContentOf(int input) => Node.InputOrNull(input) is Value value ? Context.ContentOf(value) : null;

    /// <summary>Numbers of an input whose content is wholly known, or null.</summary>
    internal long[]? NumbersOf(int input) => ContentOf(input)?.Constants();

    /// <summary>
    /// Integers that came as an attribute in early versions of an operator and as an input later, for example axes.
    /// </summary>
    /// <param name="attribute">Name of the attribute.</param>
    /// <param name="input">Position of the input.</param>
    /// <param name="isKnown">False if the input is there but its content is not known.</param>
    /// <returns>The integers, or null if they are left out or not known.</returns>
    internal long[]? IntsFrom(string attribute, int input, out bool isKnown)
    {
        long[]? values = Node.GetInts(attribute) ?? NumbersOf(input);
        isKnown = values is not null || !HasInput(input);
        return values;
    }

    /// <summary>Sets the type of an output; dimensions of which nothing is known become symbols of their own.</summary>
    /// <param name="output">Position; an output that the node does not have is passed over.</param>
    /// <param name="type">Element type; Undefined leaves what is known already.</param>
    /// <param name="shape">Shape; null leaves what is known already.</param>
    internal void Set(int output, DataType type, Shape? shape)
    {
        if (Node.OutputOrNull(output) is not Value value)
        {
            return;
        }

        DataType elementType = type == DataType.Undefined ? value.ElementType : type;
        Shape? known = shape is null
            ? value.Shape
            : new Shape(shape.Select((d, axis) => Context.ExpressionOf(d)?.ToDimension() ?? Context.FreshDimension(value, axis)));
        if (elementType != DataType.Undefined)
        {
            value.Type = new OnnxType.Tensor(elementType, known);
        }
    }

    /// <summary>Axis counted from the front.</summary>
    /// <exception cref="GraphException">The axis lies outside the rank.</exception>
    internal int Axis(long axis, int rank)
    {
        long positive = axis < 0 ? axis + rank : axis;
        return positive >= 0 && positive < rank
            ? (int)positive
            : throw Error($"axis {axis} lies outside the rank {rank}");
    }

    /// <summary>Axes counted from the front.</summary>
    /// <exception cref="GraphException">An axis lies outside the rank or is given twice.</exception>
    internal int[] Axes(long[] axes, int rank)
    {
        int[] positive = [.. axes.Select(a => Axis(a, rank))];
        return positive.Distinct().Count() == positive.Length
            ? positive
            : throw Error($"axes [{string.Join(", ", axes)}] name one axis twice");
    }

    /// <summary>The common element type of inputs; Undefined if none is known.</summary>
    /// <exception cref="GraphException">Two inputs have different types.</exception>
    internal DataType CommonType(params ReadOnlySpan<int> inputs)
    {
        DataType common = DataType.Undefined;
        foreach (int input in inputs)
        {
            DataType type = TypeOf(input);
            if (type == DataType.Undefined)
            {
                continue;
            }

            if (common != DataType.Undefined && type != common)
            {
                throw Error($"inputs must have one element type, but {DescribeInputs(inputs)}; insert a Cast");
            }

            common = type;
        }

        return common;
    }

    /// <summary>Checks the element type of an input if it is known.</summary>
    /// <exception cref="GraphException">The type is none of those allowed.</exception>
    internal void RequireType(int input, params ReadOnlySpan<DataType> allowed)
    {
        DataType type = TypeOf(input);
        if (type != DataType.Undefined && !allowed.Contains(type))
        {
            throw Error($"input {input} must be {string.Join(" or ", allowed.ToArray().Select(a => a.OnnxName()))}, but {DescribeInputs([input])}");
        }
    }

    /// <summary>Checks the rank of an input if it is known.</summary>
    /// <exception cref="GraphException">The rank is another.</exception>
    internal void RequireRank(int input, int rank)
    {
        if (ShapeOf(input) is Shape shape && shape.Rank != rank)
        {
            throw Error($"input {input} must have rank {rank}, but {Node.Inputs[input]} has rank {shape.Rank}");
        }
    }

    /// <summary>Checks that two dimensions can be equal and notes that they are.</summary>
    /// <exception cref="GraphException">Both are numbers and differ.</exception>
    internal void RequireEqual(Dimension left, Dimension right, string what)
    {
        if (left.IsKnown && right.IsKnown && left != right)
        {
            throw Error($"{what} must be equal, but are {left} and {right} ({DescribeInputs([.. Enumerable.Range(0, Node.Inputs.Count)])})");
        }

        Context.RequireEqual(left, right);
    }

    /// <summary>An error at this node.</summary>
    internal GraphException Error(string problem) => new($"{Node.Describe()} cannot run: {problem}.");

    private string DescribeInputs(ReadOnlySpan<int> inputs)
    {
        List<string> parts = [];
        foreach (int input in inputs)
        {
            if (Node.InputOrNull(input) is Value value)
            {
                parts.Add($"'{value.Name}' is {value.ElementType.OnnxName()}{value.Shape?.ToString() ?? " of unknown rank"}");
            }
        }

        return string.Join(", ", parts);
    }
}

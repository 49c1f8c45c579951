using System.Globalization;
using System.Text;

namespace OrtQLoRA.Graph.IR;

/// <summary>
/// Prints models as text for people and for tests: the same model gives the same text on every machine. Types stand
/// behind the values they belong to, small constants show their elements, subgraphs are indented.
/// </summary>
public static class GraphPrinter
{
    private const string Indent = "  ";

    /// <summary>Prints a model: header, graph, functions.</summary>
    public static string Print(OnnxModel model)
    {
        StringBuilder text = new();
        text.Append(CultureInfo.InvariantCulture, $"model ir {model.IrVersion}{Opsets(model.OpsetImports)}");
        if (model.ProducerName is { Length: > 0 } producer)
        {
            text.Append(CultureInfo.InvariantCulture, $" by {ValueText.Name($"{producer} {model.ProducerVersion}".Trim())}");
        }

        text.Append('\n');
        foreach ((string key, string value) in model.Metadata)
        {
            text.Append(CultureInfo.InvariantCulture, $"metadata {ValueText.Name(key)} = {ValueText.Quoted(value)}\n");
        }

        AppendGraph(text, model.Graph, "");
        foreach (OnnxFunction function in model.Functions)
        {
            AppendFunction(text, function);
        }

        return text.ToString();
    }

    /// <summary>Prints a graph.</summary>
    public static string Print(OnnxGraph graph)
    {
        StringBuilder text = new();
        AppendGraph(text, graph, "");
        return text.ToString();
    }

    /// <summary>Prints a node, with its subgraphs.</summary>
    public static string Print(Node node)
    {
        StringBuilder text = new();
        AppendNode(text, node, "");
        return text.ToString();
    }

    private static string Opsets(IDictionary<string, long> imports) =>
        string.Concat(imports.Select(i => string.Create(CultureInfo.InvariantCulture, $", {(i.Key.Length == 0 ? "opset" : ValueText.Name(i.Key))} {i.Value}")));

    private static void AppendFunction(StringBuilder text, OnnxFunction function)
    {
        string overload = function.Overload.Length == 0 ? "" : ":" + ValueText.Name(function.Overload);
        IEnumerable<string> attributes = function.RequiredAttributes.Select(ValueText.Name)
            .Concat(function.OptionalAttributes.Select(a => $"{ValueText.Name(a.Key)} = {ValueText.Attribute(a.Value)}"));
        text.Append(CultureInfo.InvariantCulture, $"function {ValueText.Name(function.Domain)}.{ValueText.Name(function.Name)}{overload}{Opsets(function.OpsetImports)}");
        AppendList(text, "<", attributes, ">");
        AppendBody(text, function.Body, "");
    }

    private static void AppendGraph(StringBuilder text, OnnxGraph graph, string indent)
    {
        text.Append(CultureInfo.InvariantCulture, $"{indent}graph {ValueText.Name(graph.Name)}");
        AppendBody(text, graph, indent);
    }

    private static void AppendBody(StringBuilder text, OnnxGraph graph, string indent)
    {
        text.Append(CultureInfo.InvariantCulture, $" ({string.Join(", ", graph.Inputs.Select(ValueText.Typed))})");
        text.Append(CultureInfo.InvariantCulture, $" -> ({string.Join(", ", graph.Outputs.Select(ValueText.Typed))}) {{\n");
        string inner = indent + Indent;
        foreach (Value value in graph.Initializers)
        {
            text.Append(CultureInfo.InvariantCulture, $"{inner}{(value.IsGraphInput ? "default" : "initializer")} {ValueText.Name(value.Name)}: {ValueText.Tensor(value.Initializer!)}\n");
        }

        foreach (Node node in graph.Nodes)
        {
            AppendNode(text, node, inner);
        }

        text.Append(CultureInfo.InvariantCulture, $"{indent}}}\n");
    }

    private static void AppendNode(StringBuilder text, Node node, string indent)
    {
        text.Append(indent);
        if (node.Outputs.Count > 0)
        {
            text.Append(CultureInfo.InvariantCulture, $"{string.Join(", ", node.Outputs.Select(ValueText.Typed))} = ");
        }

        text.Append(node.Domain.Length == 0 ? "" : ValueText.Name(node.Domain) + ".");
        text.Append(ValueText.Name(node.OpType));
        text.Append(node.Overload.Length == 0 ? "" : ":" + ValueText.Name(node.Overload));
        AppendList(text, "<", node.Attributes.Where(a => !a.Value.Subgraphs().Any()).Select(a => $"{ValueText.Name(a.Key)} = {ValueText.Attribute(a.Value)}"), ">");
        text.Append(CultureInfo.InvariantCulture, $"({string.Join(", ", node.Inputs.Select(i => i is null ? "_" : ValueText.Name(i.Name)))})");
        text.Append(node.Name.Length == 0 ? "\n" : $"  # {ValueText.Escaped(node.Name)}\n");
        foreach ((string name, NodeAttribute attribute) in node.Attributes)
        {
            foreach (OnnxGraph subgraph in attribute.Subgraphs())
            {
                text.Append(CultureInfo.InvariantCulture, $"{indent}{Indent}{ValueText.Name(name)} =\n");
                AppendGraph(text, subgraph, indent + Indent + Indent);
            }
        }
    }

    private static void AppendList(StringBuilder text, string open, IEnumerable<string> items, string close)
    {
        string joined = string.Join(", ", items);
        text.Append(joined.Length == 0 ? "" : open + joined + close);
    }
}

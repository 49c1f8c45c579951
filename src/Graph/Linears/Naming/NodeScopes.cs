using System.Text.RegularExpressions;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Linears.Naming;

/// <summary>Reads from a node which PyTorch module it was exported from.</summary>
internal static partial class NodeScopes
{
    /// <summary>A module path and whether the exporter recorded it as such, rather than as part of the node's name.</summary>
    internal sealed record Scope(string Path, bool IsRecorded);

    /// <summary>
    /// The module that the node belongs to, or null if nothing says so: from the dynamo exporter's metadata
    /// (<c>pkg.torch.onnx.name_scopes</c>, in early releases <c>namespace</c>), else from a node name with slashes
    /// (<c>/model/layers.0/self_attn/q_proj/MatMul</c>: TorchScript exporter, GenAI builder, TensorFlow).
    /// </summary>
    public static Scope? Of(Node node)
    {
        if (node.Metadata.TryGetValue(FusedQkv.ModuleKey, out string? module))
        {
            return new Scope(module, true);
        }

        string? recorded =
            node.Metadata.TryGetValue("pkg.torch.onnx.name_scopes", out string? scopes) ? SecondLast(Quoted().Matches(scopes).Select(m => m.Groups[1].Value + m.Groups[2].Value))
            : node.Metadata.TryGetValue("namespace", out string? space) ? SecondLast(space.Split('/').Select(part => part.Split(':')[0].Trim()))
            : null;
        if (recorded is not null)
        {
            // A module that is called again is recorded as 'module@1'.
            string path = CallNumber().Replace(recorded, "");
            return path.Length > 0 ? new Scope(path, true) : null;
        }

        string[] segments = node.Name.Split('/', StringSplitOptions.RemoveEmptyEntries);
        return segments.Length >= 2 ? new Scope(string.Join('.', segments[..^1]), false) : null;
    }

    private static string? SecondLast(IEnumerable<string> scopes) => scopes.ToArray() is [.., string module, _] ? module : null;

    [GeneratedRegex(@"'([^']*)'|""([^""]*)""")]
    private static partial Regex Quoted();

    [GeneratedRegex(@"@\d+")]
    private static partial Regex CallNumber();
}

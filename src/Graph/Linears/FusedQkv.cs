using System.Text.RegularExpressions;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears.Naming;

namespace OrtQLoRA.Graph.Linears;

/// <summary>
/// The weight of com.microsoft Attention and PackedAttention: projections to queries, keys and values side by side,
/// [in, q + k + v]. Where PyTorch had one projection for all three (GPT-2's c_attn), whose name the weight still bears, it is
/// one module; where a tool packed three of them, it is three.
/// </summary>
internal static partial class FusedQkv
{
    /// <summary>Metadata that tells which module a node of a decomposed operator belongs to.</summary>
    public const string ModuleKey = "ortqlora.module";

    /// <summary>What PyTorch calls the projections beside an output projection of a given name.</summary>
    private static readonly (string Output, string[] Projections)[] Families =
    [
        ("attention.output.dense", ["attention.self.query", "attention.self.key", "attention.self.value"]),
        ("attention.out_lin", ["attention.q_lin", "attention.k_lin", "attention.v_lin"]),
        ("attention.dense", ["attention.query", "attention.key", "attention.value"]),
        ("SelfAttention.o", ["SelfAttention.q", "SelfAttention.k", "SelfAttention.v"]),
        ("attn.o", ["attn.q", "attn.k", "attn.v"]),
        ("out_proj", ["q_proj", "k_proj", "v_proj"]),
        ("o_proj", ["q_proj", "k_proj", "v_proj"]),
        ("to_out.0", ["to_q", "to_k", "to_v"]),
    ];

    /// <summary>Whether the node is an attention that holds the projections.</summary>
    public static bool IsHolder(Node node) => node.Is("Attention", "com.microsoft") || node.Is("PackedAttention", "com.microsoft");

    /// <summary>Widths of queries, keys and values, or null if they are not known.</summary>
    public static long[]? Widths(Node node)
    {
        if (node.GetInts("qkv_hidden_sizes") is [_, _, _] sizes)
        {
            return sizes;
        }

        long? packed = node.InputOrNull(1)?.Shape is [_, { Value: { } columns }] ? columns
            : ConstantContent.DefaultOf(node.InputOrNull(1))?.Dims is [_, var width] ? width
            : null;
        return packed is { } all && all % 3 == 0 ? [all / 3, all / 3, all / 3] : null;
    }

    /// <summary>Whether the weight holds three modules rather than one.</summary>
    public static bool IsSplit(Node node) => WeightTrace.Of(node.InputOrNull(1)) is not { } trace || !InitializerNames.IsParameterPath(trace.Root.Name);

    /// <summary>Module paths of the three projections.</summary>
    public static string[] ModulePaths(Node node)
    {
        string? output = OutputProjection(node);
        foreach ((string name, string[] projections) in Families)
        {
            if (output is not null && (output == name || output.EndsWith("." + name, StringComparison.Ordinal)))
            {
                string[] named = name == "attention.output.dense" && VisionModel().IsMatch(output) ? ["attention.attention.query", "attention.attention.key", "attention.attention.value"] : projections;
                return [.. named.Select(p => output[..^name.Length] + p)];
            }
        }

        string parent = output?.LastIndexOf('.') is int dot and > 0 ? output[..dot] : NodeScopes.Of(node)?.Path ?? (node.Name.Length > 0 ? node.Name : node.Outputs[0].Name);
        return [.. ((string[])["q_proj", "k_proj", "v_proj"]).Select(p => $"{parent}.{p}")];
    }

    // The module that reads the attention's result.
    private static string? OutputProjection(Node node)
    {
        Value value = node.Outputs[0];
        while (value.Uses is [Use { Node: var reader }])
        {
            if (reader.OpType is "Reshape" or "Cast" or "Identity" or "RestorePadding")
            {
                value = reader.Outputs[0];
                continue;
            }

            string? own = WeightTrace.Of(reader.InputOrNull(1))?.Root.Name;
            return NodeScopes.Of(reader) is { IsRecorded: true } recorded ? recorded.Path
                : own is not null && InitializerNames.IsParameterPath(own) ? InitializerNames.ModulePath(InitializerNames.Clean(own))
                : NodeScopes.Of(reader)?.Path ?? FollowingBias(reader);
        }

        return null;
    }

    // ONNX Runtime's optimizer moves the bias of a projection into the normalization behind it.
    private static string? FollowingBias(Node product)
    {
        if (product.Outputs[0].Uses is not [Use { Node: var reader }])
        {
            return null;
        }

        string? bias = reader.OpType switch
        {
            "Add" => reader.Inputs.FirstOrDefault(i => i != product.Outputs[0])?.Name,
            "SkipLayerNormalization" => reader.InputOrNull(4)?.Name,
            "SkipSimplifiedLayerNormalization" => reader.InputOrNull(3)?.Name,
            _ => null,
        };
        return bias is not null && InitializerNames.IsParameterPath(bias) && InitializerNames.EndsAsBias(bias) ? InitializerNames.ModulePath(InitializerNames.Clean(bias)) : null;
    }

    [GeneratedRegex(@"(^|\.)(vit|deit|beit|dinov2|yolos|videomae|vit_mae|vision_model)\.", RegexOptions.IgnoreCase)]
    private static partial Regex VisionModel();
}

using System.Text.RegularExpressions;

namespace OrtQLoRA.Graph.Linears.Naming;

/// <summary>Tells names that people gave to parameters from names that exporters made up, and tidies the former.</summary>
internal static partial class InitializerNames
{
    /// <summary>Whether the name says nothing: <c>onnx::MatMul_650</c>, <c>val_75</c>, <c>1203</c>, <c>/attn/Constant_output_0</c>.</summary>
    public static bool IsAnonymous(string name) => name.Length == 0 || name[0] == '/' || Anonymous().IsMatch(name);

    /// <summary>Whether the name looks like a parameter's path in a module tree: dotted, or ending as weight or bias.</summary>
    public static bool IsParameterPath(string name) =>
        !IsAnonymous(name) && (name.Contains('.', StringComparison.Ordinal) || name.Contains('/', StringComparison.Ordinal) || EndsAsWeight(name) || EndsAsBias(name));

    /// <summary>Whether the name ends as a weight's.</summary>
    public static bool EndsAsWeight(string name) => Weight().IsMatch(name);

    /// <summary>Whether the name ends as a bias's.</summary>
    public static bool EndsAsBias(string name) => Bias().IsMatch(name);

    /// <summary>
    /// Whether the name is one of a buffer, which no optimizer changes: rotary frequencies and tables, running
    /// statistics, position numbers, masks, and the scales of quantized weights.
    /// </summary>
    public static bool IsBuffer(string name) => Buffer().IsMatch(name);

    /// <summary>
    /// The parameter's name without what tools added: a quantizer's or graph merger's suffix, the GenAI builder's
    /// operator segment (<c>q_proj.MatMul.weight</c>, <c>q_norm.layernorm.weight</c>), TensorFlow's <c>:0</c> and slashes.
    /// </summary>
    public static string Clean(string name)
    {
        string clean = ToolSuffix().Replace(name, "");
        return BuilderOperator().Replace(clean.Replace('/', '.'), "");
    }

    /// <summary>The module that owns a parameter of the (clean) name.</summary>
    public static string ModulePath(string parameter)
    {
        Match match = ParameterSuffix().Match(parameter);
        return match is { Success: true, Index: > 0 } ? parameter[..match.Index] : parameter;
    }

    [GeneratedRegex(@"^(onnx::\w+|\d+|_?(val|const|constant|tensor|initializer|init|node|tmp|t|fold|folded|transposed?|slice|add|mul|weight|w|_to_copy|_attr|ortshared)_?\d+(_.*)?|.*_output_\d+(_.*)?|Attention_\d+_.*|.*(Fuse|fused)_\d+|ortshared_.*)$")]
    private static partial Regex Anonymous();

    [GeneratedRegex(@"(^|[._/])(weight|kernel|embeddings?|weight_quantized)(:0)?$")]
    private static partial Regex Weight();

    [GeneratedRegex(@"(^|[._/])bias(:0)?$")]
    private static partial Regex Bias();

    [GeneratedRegex(@"(^|[._/])((original_)?inv_freq|(cos|sin)_(cache|cached)|rotary_emb|running_mean|running_var|num_batches_tracked|position_ids|token_type_ids|masked_bias|attn_mask|causal_mask|embed_scale|(.*_)?(scales?|zero_points?|zp|SF))$")]
    private static partial Regex Buffer();

    [GeneratedRegex(@"(_quantized|_Q\d+(G\d+)?|_int8|_merged_\d+|:0)$")]
    private static partial Regex ToolSuffix();

    [GeneratedRegex(@"\.(MatMul|Add|(?<=_norm\.)layernorm)(?=\.(weight|bias)$)")]
    private static partial Regex BuilderOperator();

    [GeneratedRegex(@"([._](weight|bias|kernel)|\.(embeddings?|gamma|beta))$")]
    private static partial Regex ParameterSuffix();
}

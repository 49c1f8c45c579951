using System.Text.RegularExpressions;

namespace OrtQLoRA.Graph.Adapters.Peft;

/// <summary>Keys of tensors in PEFT's adapter files.</summary>
public static partial class PeftKeys
{
    /// <summary>What PEFT puts before every module path.</summary>
    public const string Prefix = "base_model.model.";

    /// <summary>The prefix in files of prompt and prefix tuning, which have no wrapper around the model's modules.</summary>
    public const string PromptPrefix = "base_model.";

    /// <summary>The key of a parameter under its name in the base model.</summary>
    public static string Of(string parameter) => Prefix + parameter;

    /// <summary>The key of a base parameter inside a module that carries an adapter: <c>q_proj.base_layer.bias</c>.</summary>
    public static string OfBaseLayer(string modulePath, string parameter) => $"{Prefix}{modulePath}.base_layer.{parameter}";

    /// <summary>
    /// The key as PEFT saves it: state dictionaries taken from a model in memory have the adapter's name in
    /// between (<c>lora_A.default.weight</c>), and some tools leave the prefix out.
    /// </summary>
    public static string Normalise(string key)
    {
        string plain = AdapterName().Replace(key, "$1");
        return plain.StartsWith("base_model.", StringComparison.Ordinal) || plain == "prompt_embeddings" ? plain : Prefix + plain;
    }

    [GeneratedRegex(@"((?:^|\.)(?:lora_A|lora_B|lora_embedding_A|lora_embedding_B|modules_to_save))\.default(?=\.|$)")]
    private static partial Regex AdapterName();
}

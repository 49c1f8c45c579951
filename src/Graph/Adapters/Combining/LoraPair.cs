using System.Text.RegularExpressions;
using OrtQLoRA.Graph.Adapters.Lora;
using OrtQLoRA.Graph.Adapters.Peft;
using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.LinearAlgebra;

namespace OrtQLoRA.Graph.Adapters.Combining;

/// <summary>The matrices of one module in a LoRA file, without a model at hand.</summary>
/// <param name="ModulePath">The module.</param>
/// <param name="KeyA">Key of A.</param>
/// <param name="KeyB">Key of B.</param>
/// <param name="A">[r, in].</param>
/// <param name="B">[out, r].</param>
/// <param name="Scaling">What the product is multiplied by.</param>
internal sealed partial record LoraPair(string ModulePath, string KeyA, string KeyB, Matrix A, Matrix B, double Scaling)
{
    /// <summary>The weight's change <c>scaling B A</c> [out, in].</summary>
    public Matrix Change()
    {
        Matrix change = B.Multiply(A);
        change.Scale((float)Scaling);
        return change;
    }

    /// <summary>The pairs of an adapter by the key of A, and its other tensors.</summary>
    /// <exception cref="ConfigurationException">It is no LoRA adapter, or a matrix has no partner.</exception>
    public static (IReadOnlyDictionary<string, LoraPair> Pairs, IReadOnlyDictionary<string, ITensor> Others) Of(AdapterWeights adapter)
    {
        if (adapter.Config is not LoraConfig config)
        {
            throw new ConfigurationException($"{adapter.Source} is {(adapter.Method is null ? "no adapter with a configuration" : $"an adapter of method '{adapter.Method.Name}'")}; only LoRA adapters can be combined. Make LoRA of it first (ortqlora adapter convert).");
        }

        ModulePatternTable<double> alphas = new("alpha_pattern", config.AlphaPattern);
        Dictionary<string, ITensor> tensors = adapter.Tensors.ToDictionary(t => PeftKeys.Normalise(t.Key), t => t.Value, StringComparer.Ordinal);
        Dictionary<string, LoraPair> pairs = new(StringComparer.Ordinal);
        Dictionary<string, ITensor> others = new(StringComparer.Ordinal);
        foreach ((string key, ITensor tensor) in tensors)
        {
            Match match = KeyPattern().Match(key);
            if (!match.Success)
            {
                others[key] = tensor;
                continue;
            }

            if (match.Groups["side"].Value == "B")
            {
                continue;
            }

            string keyB = key[..match.Groups["side"].Index] + "B" + key[(match.Groups["side"].Index + 1)..];
            if (!tensors.TryGetValue(keyB, out ITensor? other))
            {
                throw new ConfigurationException($"{adapter.Source} holds '{key}' but not '{keyB}'.");
            }

            string path = match.Groups["path"].Value;
            if (tensor.Dims.Length != 2 || other.Dims.Length != 2)
            {
                throw new ConfigurationException($"{adapter.Source} holds '{key}' [{string.Join(", ", tensor.Dims)}] and '{keyB}' [{string.Join(", ", other.Dims)}]; adapters of convolutions cannot be combined or compared as matrices. Merge them into the model instead.");
            }

            Matrix a = Matrix.Of(tensor);
            double alpha = alphas.ValueFor(path, config.Alpha);
            pairs[key] = new LoraPair(path, key, keyB, a, Matrix.Of(other), alpha / (config.UseRsLora ? Math.Sqrt(a.Rows) : a.Rows));
        }

        return (pairs, others);
    }

    [GeneratedRegex(@"^base_model\.model\.(?<path>.*)\.lora_(?:embedding_)?(?<side>[AB])(?:\.weight)?$")]
    private static partial Regex KeyPattern();
}

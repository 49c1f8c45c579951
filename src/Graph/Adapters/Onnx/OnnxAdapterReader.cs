using OrtQLoRA.Graph.Adapters.Lora;
using OrtQLoRA.Graph.Adapters.Peft;
using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Adapters.Onnx;

/// <summary>
/// Reads an <c>.onnx_adapter</c> as a LoRA adapter: <c>MODULE.lora_A.weight</c> [in, r] and <c>MODULE.lora_B.weight</c> [r, out], as this
/// project and Olive name them. The scaling lies in B there, so the adapter's own is 1: alpha equals the rank.
/// </summary>
internal static class OnnxAdapterReader
{
    private const string LinearA = ".lora_A.weight";
    private const string LinearB = ".lora_B.weight";
    private const string LinearBias = ".lora_B.bias";
    private const string EmbeddingA = ".lora_embedding_A";
    private const string EmbeddingB = ".lora_embedding_B";

    /// <summary>Reads a file.</summary>
    /// <exception cref="ModelFormatException">The file is absent or malformed, or holds more than LoRA matrices; every such tensor is named.</exception>
    public static AdapterWeights Read(string path)
    {
        IReadOnlyDictionary<string, ITensor> parameters = OnnxAdapterFile.Read(path);
        List<string> faults = [];
        SortedDictionary<string, long> ranks = new(StringComparer.Ordinal);
        Dictionary<string, ITensor> tensors = new(StringComparer.Ordinal);
        bool hasBias = false;
        foreach ((string name, ITensor tensor) in parameters)
        {
            if (name.EndsWith(LinearBias, StringComparison.Ordinal))
            {
                hasBias = true;
                tensors[PeftKeys.Of(name)] = tensor;
            }
            else if (Suffix(name, LinearA, EmbeddingA) is { } a && tensor.Dims is [_, long rank])
            {
                ranks[name[..^a.Length]] = rank;
                tensors[PeftKeys.Of(name)] = new TransposedTensor(tensor);
                string partner = name[..^a.Length] + (a == LinearA ? LinearB : EmbeddingB);
                if (!parameters.TryGetValue(partner, out ITensor? b) || b.Dims is not [long rows, _] || rows != rank)
                {
                    faults.Add($"'{name}' [{string.Join(", ", tensor.Dims)}] asks for '{partner}' [{rank}, out], which is {(b is null ? "not there" : $"[{string.Join(", ", b.Dims)}]")}");
                }
            }
            else if (Suffix(name, LinearB, EmbeddingB) is { } suffix && tensor.Dims.Length == 2 && parameters.ContainsKey(name[..^suffix.Length] + (suffix == LinearB ? LinearA : EmbeddingA)))
            {
                tensors[PeftKeys.Of(name)] = new TransposedTensor(tensor);
            }
            else
            {
                faults.Add($"'{name}' [{string.Join(", ", tensor.Dims)}] is no LoRA matrix of a module");
            }
        }

        if (faults.Count > 0 || ranks.Count == 0)
        {
            throw new ModelFormatException(
                $"'{path}' cannot be read as a LoRA adapter{(faults.Count > 0 ? ":\n" + string.Join("\n", faults.Select(f => "  - " + f)) : ": it holds no matrices.")}\nUse the PEFT folder that the adapter was made from.");
        }

        int common = checked((int)ranks.Values.GroupBy(r => r).OrderByDescending(g => g.Count()).First().Key);
        KeyValuePair<string, double>[] others = [.. ranks.Where(r => r.Value != common).Select(r => KeyValuePair.Create(r.Key, (double)r.Value))];
        LoraConfig config = new()
        {
            Rank = common,
            Alpha = common,
            RankPattern = others,
            AlphaPattern = others,
            HasLoraBias = hasBias,
            TargetModules = ModuleSelector.OfNames(ranks.Keys),
        };
        return new AdapterWeights(new LoraMethod(), config, tensors, $"'{path}'");
    }

    private static string? Suffix(string name, string linear, string embedding) =>
        name.EndsWith(linear, StringComparison.Ordinal) ? linear : name.EndsWith(embedding, StringComparison.Ordinal) ? embedding : null;
}

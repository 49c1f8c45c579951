using OrtQLoRA.Graph.Export;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;
using OrtQLoRA.Graph.Linears.Naming;
using OrtQLoRA.Graph.Quantization;
using OrtQLoRA.Graph.Quantization.Eetq;

namespace OrtQLoRA.Graph.Checkpoints;

/// <summary>
/// Puts the weights of a Hugging Face checkpoint into an ONNX model of the same architecture. Float tensors take the type of the
/// model's initializers. Layers that EETQ quantized (<c>weight</c> or <c>qweight</c> int8 [in, out] with <c>weight_scales</c> [out]) are
/// dequantized when they are read, and quantized again to the same bytes.
/// </summary>
/// <remarks>
/// EETQ's layout for compute capability 7.5 to 8.9 is expected; files carry no mark of the other one (7.0). A scale need not be
/// the column's maximum divided by 128: only <c>q * scale</c> counts.
/// </remarks>
internal static class CheckpointWeights
{
    private const int Shown = 500;
    private const string ScalesSuffix = "_scales";

    /// <summary>Replaces the model's weights.</summary>
    /// <param name="model">The model; the checkpoint must outlive it.</param>
    /// <param name="checkpoint">The weights.</param>
    /// <exception cref="ConfigurationException">Weights are missing, left over, or of another shape; every mismatch is listed.</exception>
    public static void Put(OnnxModel model, HuggingFaceCheckpoint checkpoint)
    {
        LinearSites sites = LinearFinder.Find(model);
        IReadOnlyDictionary<string, ITensor> tensors = Renamed(checkpoint.Tensors, [.. sites.Parameters.Select(p => p.Name)]);
        MergedInitializers initializers = new(sites);
        LastUsed<byte[]> last = new();
        List<string> faults = [];
        List<(ModelParameter Parameter, ITensor Content)> found = [];
        HashSet<string> used = new(StringComparer.Ordinal);
        HashSet<Value> filled = [];
        foreach (ModelParameter parameter in sites.Parameters)
        {
            if (Take(parameter, tensors, last, used, faults) is { } content)
            {
                found.Add((parameter, content));
                filled.Add(parameter.Value);
            }
        }

        // A head that is tied to the embedding is not in the file; the model may have a copy of it all the same.
        foreach (ModelParameter parameter in sites.Parameters.Where(p => !used.Contains(p.Name) && !filled.Contains(p.Value)))
        {
            ModelParameter? tied = parameter.WeightOf?.IsOutputHead == true
                ? found.Select(f => f.Parameter).FirstOrDefault(p => p.WeightOf?.Kind == LinearKind.Embedding && p.TorchDims.SequenceEqual(parameter.TorchDims))
                : null;
            if (tied is not null)
            {
                found.Add((parameter, Float(tensors[tied.Name], parameter)));
            }
            else
            {
                faults.Add($"'{parameter}' is missing");
            }
        }

        faults.AddRange(tensors.Keys
            .Where(k => !used.Contains(k) && !InitializerNames.IsBuffer(k) && !k.EndsWith(".attn.bias", StringComparison.Ordinal))
            .Order(StringComparer.Ordinal)
            .Select(k => $"'{k}' belongs to no weight of the model"));
        if (faults.Count > 0)
        {
            throw new ConfigurationException(
                $"The weights in {checkpoint.Source} do not fit the model; an ONNX export of the same architecture and sizes is expected:\n"
                + string.Join("\n", faults.Take(Shown).Select(f => "  - " + f))
                + (faults.Count > Shown ? $"\n  - and {faults.Count - Shown} more" : ""));
        }

        foreach ((ModelParameter parameter, ITensor content) in found)
        {
            initializers.Replace(parameter, content, isCopy: false);
        }
    }

    // The weight under the parameter's name; null if the file has none or it does not fit.
    private static ITensor? Take(
        ModelParameter parameter, IReadOnlyDictionary<string, ITensor> tensors, LastUsed<byte[]> last, HashSet<string> used, List<string> faults)
    {
        string name = tensors.ContainsKey(parameter.Name) ? parameter.Name
            : parameter.Name.EndsWith(".weight", StringComparison.Ordinal) ? parameter.Name[..^"weight".Length] + "qweight"
            : parameter.Name;
        if (!tensors.TryGetValue(name, out ITensor? tensor))
        {
            return null;
        }

        used.Add(name);
        used.Add(parameter.Name);
        string scalesName = parameter.Name + ScalesSuffix;
        if (tensor.ElementType is DataType.Int8 or DataType.UInt8)
        {
            used.Add(scalesName);
            return Quantized(parameter, tensor, tensors.GetValueOrDefault(scalesName), last, faults);
        }

        if (!tensor.ElementType.IsFloatingPoint() || !tensor.Dims.SequenceEqual(parameter.TorchDims))
        {
            faults.Add($"'{name}' is {tensor.ElementType.OnnxName()} [{string.Join(", ", tensor.Dims)}], expected are floats [{string.Join(", ", parameter.TorchDims)}]");
            return null;
        }

        return Float(tensor, parameter);
    }

    private static ITensor? Quantized(ModelParameter parameter, ITensor packed, ITensor? scales, LastUsed<byte[]> last, List<string> faults)
    {
        if (parameter.WeightOf is not { Kind: LinearKind.Linear } module)
        {
            faults.Add($"'{parameter.Name}' is int8, but the model reads it in no linear layer");
            return null;
        }

        (long rows, long columns) = (module.InFeatures, module.OutFeatures);
        if (!packed.Dims.SequenceEqual([rows, columns]) || rows % EetqLayout.Tile != 0 || columns % EetqLayout.Tile != 0)
        {
            faults.Add($"'{parameter.Name}' is int8 [{string.Join(", ", packed.Dims)}], expected is [in, out] = [{rows}, {columns}] in multiples of {EetqLayout.Tile}");
            return null;
        }

        if (scales is null || !scales.ElementType.IsFloatingPoint() || !scales.Dims.SequenceEqual([columns]))
        {
            faults.Add($"'{parameter.Name}{ScalesSuffix}' {(scales is null ? "is missing" : $"is {scales.ElementType.OnnxName()} [{string.Join(", ", scales.Dims)}]")}, expected are floats [{columns}]");
            return null;
        }

        Half[] stored = Array.ConvertAll(scales.ToFloats(), s => (Half)s);
        if (Array.FindIndex(stored, s => !Half.IsFinite(s)) is >= 0 and int at)
        {
            faults.Add($"'{parameter.Name}{ScalesSuffix}' holds {stored[at]} at {at}");
            return null;
        }

        return new EetqCheckpointTensor(packed, stored, parameter.Content, module.Sites[0].IsOutByIn, last);
    }

    private static ITensor Float(ITensor tensor, ModelParameter parameter) =>
        ParameterValues.ToContent(parameter, parameter.IsTransposed ? new TransposedTensor(tensor) : tensor);

    // A model exported inside a wrapper class has one more segment in front of every name, or one less.
    private static IReadOnlyDictionary<string, ITensor> Renamed(IReadOnlyDictionary<string, ITensor> tensors, HashSet<string> expected)
    {
        string[] prefixes = [.. expected.Select(e => e.Split('.')[0]).Concat(tensors.Keys.Select(k => k.Split('.')[0])).Distinct().Select(s => s + ".")];
        Func<string, string>[] ways =
        [
            k => k,
            .. prefixes.Select(p => (Func<string, string>)(k => p + k)),
            .. prefixes.Select(p => (Func<string, string>)(k => k.StartsWith(p, StringComparison.Ordinal) ? k[p.Length..] : k)),
        ];
        Func<string, string> best = ways.MaxBy(way => tensors.Keys.Select(way).Distinct().Count(expected.Contains))!;
        return tensors.Keys.Select(best).Distinct().Count() == tensors.Count
            ? tensors.ToDictionary(t => best(t.Key), t => t.Value, StringComparer.Ordinal)
            : tensors;
    }
}

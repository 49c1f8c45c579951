using System.Text.Json;
using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Export.Layout;
using OrtQLoRA.Graph.IO;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;
using OrtQLoRA.Graph.Quantization;
using OrtQLoRA.Graph.Quantization.Eetq;
using OrtQLoRA.Graph.Safetensors;

namespace OrtQLoRA.Graph.Export.Eetq;

/// <summary>
/// Writes a model's weights as transformers saves a model that EETQ quantized: <c>weight</c> int8 [in, out] in EETQ's processed
/// layout and <c>weight_scales</c> fp16 [out] for each linear layer, everything else in fp16 under PyTorch's names.
/// </summary>
/// <remarks>
/// transformers quantizes fp16 weights, so float weights are rounded to fp16 first. The layout needs multiples of 64; layers of
/// other sizes stay fp16 and are listed in <c>modules_to_not_convert</c>, as is the output head.
/// </remarks>
internal static class EetqCheckpointExporter
{
    /// <summary>Name of the weights file in a folder.</summary>
    public const string WeightsFile = "model.safetensors";

    private const string ConfigFile = "config.json";

    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true, NewLine = "\n" };

    /// <summary>Writes the checkpoint.</summary>
    /// <param name="model">The merged model; must outlive the call.</param>
    /// <param name="modelPath">Where the base model lies: its configuration and tokenizer are copied.</param>
    /// <param name="output">A folder, or a file ending in <c>.safetensors</c>.</param>
    /// <returns>Errors of the layers, and remarks.</returns>
    public static (QuantizationReport Report, IReadOnlyList<string> Warnings) Write(OnnxModel model, string modelPath, string output)
    {
        LinearSites sites = LinearFinder.Find(model);
        LastUsed<IQuantizedWeight> last = new();
        List<KeyValuePair<string, ITensor>> tensors = [];
        List<QuantizedLayer> layers = [];
        List<string> kept = [];
        HashSet<Value> written = [];
        foreach (ModelParameter parameter in sites.Parameters.Where(p => written.Add(p.Value)))
        {
            if (parameter.WeightOf is { Kind: LinearKind.Linear } module && IsTorchLinear(parameter, module))
            {
                if (Quantizes(module))
                {
                    layers.Add(Add(tensors, module, last));
                    continue;
                }

                kept.Add(module.Path);
            }

            ITensor content = parameter.IsTransposed ? new TransposedTensor(ParameterValues.Of(parameter)) : ParameterValues.Of(parameter);
            tensors.Add(new(parameter.Name, Half(parameter.Name, content)));
        }

        if (layers.Count == 0)
        {
            throw new ConfigurationException(
                $"No linear layer of the model can be written in EETQ's layout, which needs inputs and outputs in multiples of {EetqLayout.Tile}: {string.Join(", ", kept.Take(5))}. Export with --to int8 instead.");
        }

        List<string> warnings = [];
        string[] odd = [.. sites.Modules.Where(m => kept.Contains(m.Path) && !m.IsOutputHead).Select(m => m.ToString())];
        if (odd.Length > 0)
        {
            warnings.Add($"{odd.Length} layers stay fp16, since EETQ's layout needs multiples of {EetqLayout.Tile}: {string.Join(", ", odd.Take(5))}{(odd.Length > 5 ? ", ..." : "")}.");
        }

        if (output.EndsWith(".safetensors", StringComparison.Ordinal))
        {
            OutputFolder.Create(Path.GetDirectoryName(Path.GetFullPath(output))!);
            SafetensorsWriter.Write(output, tensors);
        }
        else
        {
            OutputFolder.Create(output);
            SafetensorsWriter.Write(Path.Combine(output, WeightsFile), tensors);
            WriteConfig(modelPath, output, kept, warnings);
            OutputFolder.CopyCompanions(modelPath, output, ConfigFile, "genai_config.json");
        }

        return (new QuantizationReport("eetq", layers), warnings);
    }

    // Hugging Face's Conv1D is no nn.Linear: EETQ leaves it alone.
    private static bool IsTorchLinear(ModelParameter parameter, LinearModule module) =>
        module.Storage == WeightStorage.Dense && parameter.TorchDims is [long first, _] && first == module.OutFeatures && !ParameterFinder.IsConv1D(module.Sites[0]);

    private static bool Quantizes(LinearModule module) => WeightQuantizationPass.IsQuantizedByDefault(module)
        && module.InFeatures % EetqLayout.Tile == 0 && module.OutFeatures % EetqLayout.Tile == 0;

    private static QuantizedLayer Add(List<KeyValuePair<string, ITensor>> tensors, LinearModule module, LastUsed<IQuantizedWeight> last)
    {
        LinearSite site = module.Sites[0];
        ITensor content = site.Content is IQuantizedSource ? site.Content : Half(site.Weight.Name, site.Content);
        WeightMatrix matrix = new(site.Weight.Name, content, site.IsOutByIn);
        EetqWeight quantized = (EetqWeight)last.Get(matrix, () => EetqInt8Format.QuantizeToPlain(matrix));
        Half[] scales = quantized.Scales.ToArray();
        tensors.Add(new(module.Path + ".weight", new DeferredTensor(
            DataType.Int8, [module.InFeatures, module.OutFeatures], () => ((EetqWeight)last.Get(matrix, () => EetqInt8Format.QuantizeToPlain(matrix))).Pack())));
        tensors.Add(new(module.Path + ".weight_scales", DenseTensor.Vector(scales)));
        return new QuantizedLayer(module.Path, matrix.Name, module.InFeatures, module.OutFeatures, matrix.ByteLength, quantized.ByteLength, quantized.Error);
    }

    private static ITensor Half(string name, ITensor content) =>
        content.ElementType == DataType.Float16 ? content : new NarrowedTensor(name, content, DataType.Float16);

    private static void WriteConfig(string modelPath, string folder, IReadOnlyList<string> kept, List<string> warnings)
    {
        string source = Path.Combine(Path.GetDirectoryName(Path.GetFullPath(modelPath))!, ConfigFile);
        JsonObject config = [];
        if (File.Exists(source))
        {
            try
            {
                config = JsonNode.Parse(File.ReadAllText(source)) as JsonObject ?? throw new JsonException("it holds no object.");
            }
            catch (JsonException e)
            {
                throw new ModelFormatException($"'{source}' is no JSON object: {e.Message} Mend or remove it.", e);
            }
        }
        else
        {
            warnings.Add($"There is no {ConfigFile} beside the base model; add the architecture's own keys to the one written, from the model that was exported to ONNX.");
        }

        config.Remove("dtype");
        config["torch_dtype"] = "float16";
        config["quantization_config"] = new JsonObject
        {
            ["quant_method"] = "eetq",
            ["weights"] = "int8",
            ["modules_to_not_convert"] = kept.Count == 0 ? null : new JsonArray([.. kept.Select(k => (JsonNode)k)]),
        };
        AtomicFile.Write(Path.Combine(folder, ConfigFile), stream =>
        {
            using StreamWriter writer = new(stream, leaveOpen: true);
            writer.Write(config.ToJsonString(Indented));
            writer.Write('\n');
        });
    }
}

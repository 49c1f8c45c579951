using System.Text.Json;
using Microsoft.ML.OnnxRuntime;
using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.Adapters.Lora;
using OrtQLoRA.Graph.Adapters.Peft;
using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Graph.Export;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;
using OrtQLoRA.Graph.Passes;
using OrtQLoRA.Graph.Quantization;
using OrtQLoRA.Graph.Safetensors;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Export;

/// <summary>A model of a real exporter with a random LoRA on it: the adapter on disk, and what base and adapter compute together.</summary>
internal sealed class ExportedCase : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly IWeightFormat? _format;

    /// <param name="name">Folder under <c>exports</c>.</param>
    /// <param name="format">How the base was kept; null for floats.</param>
    /// <param name="seed">Seed of the adapter.</param>
    /// <param name="kinds">Kinds of modules that carry LoRA; linear layers by default.</param>
    public ExportedCase(string name, IWeightFormat? format = null, int seed = 7, params LinearKind[] kinds)
    {
        _format = format;
        string folder = Fixtures.Require("exports/" + name);
        using JsonDocument description = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "case.json")));
        Model = Path.Combine(folder, description.RootElement.GetProperty("model_file").GetString()!);
        IsHalf = description.RootElement.GetProperty("dtype").GetString() == "float16";
        using SafetensorsFile data = SafetensorsFile.Open(Path.Combine(folder, "data.safetensors"));
        using OnnxModel original = OnnxModelReader.Read(Model);
        Feeds = original.Graph.RequiredInputs.ToDictionary(i => i.Name, i => Copy(data["case0.input." + i.Name], i.ElementType));

        kinds = kinds.Length == 0 ? [LinearKind.Linear] : kinds;
        using OnnxModel beside = OnnxModelReader.Read(Model);
        NormalisationPipeline.ForTraining().Run(beside);
        if (format is not null)
        {
            new WeightQuantizationPass(format).Run(beside);
        }

        Base = OrtRunner.Run(beside, Fed(beside), GraphOptimizationLevel.ORT_DISABLE_ALL);
        LoraConfig config = new()
        {
            Rank = 4,
            Alpha = 2,
            TargetModules = ModuleSelector.OfNames(LinearFinder.Find(original).Modules.Where(m => kinds.Contains(m.Kind)).Select(m => m.Path)),
            Initialization = LoraInitialization.Random,
        };
        AdapterInsertionPass pass = new(new LoraMethod(), config) { IsTraining = false, Seed = seed };
        pass.Run(beside);
        Adapter = _folder.File("adapter/x");
        Adapter = Path.GetDirectoryName(Adapter)!;
        PeftAdapterFolder.Write(Adapter, pass.Inserted.InitialWeights());
        Trained = OrtRunner.Run(
            beside,
            Fed(beside).Concat(pass.Inserted.Parameters.Select(p => KeyValuePair.Create(p.Name, p.InitialValue))).ToDictionary(),
            GraphOptimizationLevel.ORT_DISABLE_ALL);
    }

    /// <summary>The base model's file.</summary>
    public string Model { get; }

    /// <summary>The adapter's folder.</summary>
    public string Adapter { get; }

    /// <summary>Whether the model computes in fp16.</summary>
    public bool IsHalf { get; }

    /// <summary>Inputs.</summary>
    public Dictionary<string, ITensor> Feeds { get; }

    /// <summary>What the base computes as it was in training.</summary>
    public IReadOnlyDictionary<string, ITensor> Base { get; }

    /// <summary>What base and adapter compute.</summary>
    public IReadOnlyDictionary<string, ITensor> Trained { get; }

    /// <summary>Exports.</summary>
    public ExportResult Export(ExportKind kind, string output = "out", QuantizedForm? form = null, DataType? precision = null) => ModelExporter.Export(
        new ExportSource { Model = Model, Adapter = Adapter, BaseFormat = _format },
        new ExportOptions { Kind = kind, Output = PathOf(output), Form = form, Precision = precision });

    /// <summary>A path in the case's temporary folder.</summary>
    public string PathOf(string relative) => Path.Combine(_folder.Path, relative);

    /// <summary>Runs an exported file in a plain session, with adapters.</summary>
    public IReadOnlyDictionary<string, ITensor> Run(string path, params string[] onnxAdapters)
    {
        using SessionOptions sessionOptions = new() { LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR };
        using InferenceSession session = new(path, sessionOptions);
        OrtLoraAdapter[] adapters = [.. onnxAdapters.Select(p => OrtLoraAdapter.Create(p, null))];
        try
        {
            return OrtRunner.Run(
            session,
            Feeds.Where(f => session.InputNames.Contains(f.Key)).ToDictionary(f => f.Key, f => Copy(f.Value, (DataType)session.InputMetadata[f.Key].ElementDataType)),
            options => Array.ForEach(adapters, options.AddActiveLoraAdapter));
        }
        finally
        {
            Array.ForEach(adapters, a => a.Dispose());
        }
    }

    /// <summary>The largest relative distance of an output from what it should be.</summary>
    public static double Distance(IReadOnlyDictionary<string, ITensor> expected, IReadOnlyDictionary<string, ITensor> actual) =>
        expected.Max(e => TensorAssert.RelativeL2<float>(e.Value.ToFloats(), actual[e.Key].ToFloats()));

    public void Dispose() => _folder.Dispose();

    // Recorded in fp32 where the model takes fp16.
    private static ITensor Copy(ITensor tensor, DataType type) => (tensor.ElementType, type) switch
    {
        (DataType.Float, DataType.Float16) => DenseTensor.Of(tensor.Dims, Array.ConvertAll(tensor.ToFloats(), v => (Half)v)),
        (DataType.Float16, DataType.Float) => DenseTensor.Of(tensor.Dims, tensor.ToFloats()),
        _ => new DenseTensor(tensor.ElementType, tensor.Dims, tensor.ToBytes()),
    };

    private Dictionary<string, ITensor> Fed(OnnxModel model) =>
        Feeds.Where(f => model.Graph.TryGetValue(f.Key, out Value? input) && input.IsGraphInput).ToDictionary();
}

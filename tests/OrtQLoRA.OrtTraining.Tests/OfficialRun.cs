using System.Text.Json.Nodes;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Safetensors;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.OrtTraining.Tests;

/// <summary>A recorded run of ONNX Runtime's Python API over artifacts of its own generator (fixture ort-artifacts).</summary>
internal sealed class OfficialRun : IDisposable
{
    private readonly SafetensorsFile _data;
    private readonly JsonNode _record;

    internal OfficialRun(string name)
    {
        Folder = Fixtures.Require($"ort-artifacts/{name}");
        _data = SafetensorsFile.Open(Path.Combine(Folder, "data.safetensors"));
        _record = JsonNode.Parse(System.IO.File.ReadAllText(Path.Combine(Folder, "run.json")))!;
    }

    internal static string[] Names { get; } =
        ["a_mlp_crossentropy_adamw", "b_mlp_crossentropy_sgd", "c_mlp_mse_frozen", "c2_mlp_bcewithlogits", "c3_mlp_l1", "d_llama_lora"];

    internal string Folder { get; }

    internal string[] Inputs => Strings("training_inputs");

    internal string[] Trained => Strings("requires_grad");

    internal double LearningRate => (double)_record["learning_rate"]!;

    internal string File(string name) => Path.Combine(Folder, name);

    internal JsonNode Run(int accumulation) => _record["runs"]![$"accum{accumulation}"]!;

    internal double[] Losses(int accumulation) => Doubles(Run(accumulation)["losses"]!);

    internal double[] LearningRates(int accumulation) => Doubles(Run(accumulation)["learning_rates"]!);

    internal SafetensorsFile FinalParameters(int accumulation) => SafetensorsFile.Open(File($"final_params_accum{accumulation}.safetensors"));

    internal SafetensorsFile FirstGradients(int accumulation) => SafetensorsFile.Open(File($"grads_first_step_accum{accumulation}.safetensors"));

    /// <summary>Training batch i.</summary>
    internal Dictionary<string, DenseTensor> Batch(int i) => Tensors($"train.{i}.");

    internal Dictionary<string, DenseTensor> EvalBatch() => Tensors("eval.");

    public void Dispose() => _data.Dispose();

    internal static double[] Doubles(JsonNode array) => [.. array.AsArray().Select(v => (double)v!)];

    private Dictionary<string, DenseTensor> Tensors(string prefix) => Inputs.ToDictionary(
        n => n,
        n => new DenseTensor(_data[prefix + n].ElementType, _data[prefix + n].Dims, _data[prefix + n].ToBytes()));

    private string[] Strings(string key) => [.. _record[key]!.AsArray().Select(v => (string)v!)];
}

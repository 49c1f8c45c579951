using System.Text.Json;
using OrtQLoRA.ExportTool;
using OrtQLoRA.Graph.Adapters.Peft;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Models;
using OrtQLoRA.Graph.Quantization.Eetq;
using OrtQLoRA.Graph.Safetensors;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Cli.Tests;

/// <summary><c>ortqlora export</c> and <c>ortqlora-export</c> on a run: every form, and what is refused.</summary>
[TestClass]
public sealed class ExportCommandTests
{
    private static readonly TemporaryFolder Folder = new();
    private static string Run = "";

    [ClassInitialize]
    public static void TrainOnce(TestContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        using OnnxModel model = LlamaModelBuilder.Build(new LlamaModelOptions
        {
            HiddenSize = 64,
            IntermediateSize = 128,
            LayerCount = 2,
            HeadCount = 4,
            VocabularySize = 96,
            ContextLength = 32,
            InitializerRange = 0.2,
        });
        OnnxModelWriter.Write(model, Folder.File("base/model.onnx"));
        Folder.Write("base/genai_config.json", "{}");
        Folder.Write("base/config.json", "{\"model_type\": \"llama\", \"hidden_size\": 64}");
        string data = Folder.Write("train.jsonl", string.Concat(Enumerable.Range(0, 6).Select(i => $"{{\"input_ids\": [{i}, {i + 2}, {i * 3}, 95, 7, {50 + i}]}}\n")));
        Run = Folder.File("run");
        CommandLine.Succeed(
            "train", "--model", Folder.File("base/model.onnx"), "--data", data, "--out", Run, "--quant", "eetq", "--rank", "8", "--alpha", "16", "--lr", "0.02", "--max-steps", "6");
    }

    [ClassCleanup]
    public static void Remove() => Folder.Dispose();

    [TestMethod]
    [DataRow("merged", "", 1e-4)]
    [DataRow("merged", "--dtype fp16", 2e-3)]
    [DataRow("merged", "--dtype bf16", 2e-2)]
    [DataRow("int8", "", 5e-2)]
    [DataRow("int8", "--format matmulnbits", 5e-2)]
    [DataRow("adapter", "", 1e-4)]
    [DataRow("adapter", "--format qdq", 1e-4)]
    [DataRow("triton", "", 1e-4)]
    public void Export_OnnxForms_DifferFromTheTrainedGraphByRoundingAlone(string to, string flags, double tolerance)
    {
        string output = Folder.File($"out/{to}{flags.Replace(" ", "", StringComparison.Ordinal)}");

        string printed = CommandLine.Succeed(["export", "--run", Run, "--to", to, "--output", output, .. flags.Split(' ', StringSplitOptions.RemoveEmptyEntries)]);

        string line = printed.Split('\n').Single(l => l.StartsWith("Differs from the trained graph by ", StringComparison.Ordinal));
        double difference = double.Parse(line.Split(' ')[6], System.Globalization.CultureInfo.InvariantCulture);
        Assert.IsLessThan(tolerance, difference);
        Assert.AreEqual(to == "triton", File.Exists(Path.Combine(output, "model", "config.pbtxt")));
        Assert.AreEqual(to != "triton", File.Exists(Path.Combine(output, "genai_config.json")));
        Assert.AreEqual(to == "int8" || flags.Contains("--format", StringComparison.Ordinal), printed.Contains("model.layers.0.self_attn.q_proj", StringComparison.Ordinal), "int8 reports each layer");
    }

    [TestMethod]
    public void Export_Unmerge_GivesTheBaseBack()
    {
        string adapter = Path.Combine(Run, "adapter");
        string model = Folder.File("base/model.onnx");
        string merged = Folder.File("unmerge/merged.onnx");
        string output = Folder.File("unmerge/base.onnx");
        CommandLine.Succeed("export", "--model", model, "--adapter", adapter, "--output", merged);

        CommandLine.Succeed("export", "--to", "unmerge", "--model", merged, "--run", Run, "--output", output);

        using OnnxModel before = OnnxModelReader.Read(model);
        using OnnxModel changed = OnnxModelReader.Read(merged);
        using OnnxModel after = OnnxModelReader.Read(output);
        int different = 0;
        foreach (Value value in before.Graph.Initializers.Where(i => i.ElementType == DataType.Float))
        {
            TensorAssert.AreClose(value.Initializer!, after.Graph.GetValue(value.Name).Initializer!, 1e-6, value.Name);
            different += value.Initializer!.ToFloats().SequenceEqual(changed.Graph.GetValue(value.Name).Initializer!.ToFloats()) ? 0 : 1;
        }

        Assert.IsGreaterThan(5, different);
        StringAssert.Contains(CommandLine.Fail("export", "--to", "unmerge", "--run", Run, "--output", output), "--model");
    }

    [TestMethod]
    public void Export_TritonTarget_DescribesInputsAndOutputs()
    {
        string output = Folder.File("repository");

        CommandLine.Succeed("export", "--run", Run, "--to", "int8", "--target", "triton", "--max-batch-size", "4", "--output", output);

        string config = File.ReadAllText(Path.Combine(output, "model", "config.pbtxt"));
        StringAssert.Contains(config, "name: \"model\"");
        StringAssert.Contains(config, "max_batch_size: 4");
        StringAssert.Contains(config, "input [ { name: \"input_ids\" data_type: TYPE_INT64 dims: [ -1 ] } ]");
        StringAssert.Contains(config, "output [ { name: \"logits\" data_type: TYPE_FP32 dims: [ -1, 96 ] } ]");
        Assert.IsTrue(File.Exists(Path.Combine(output, "model", "1", "model.onnx")));
    }

    [TestMethod]
    public void Export_Eetq_WritesWhatTransformersSaves()
    {
        string output = Folder.File("hf");

        CommandLine.Succeed("export", "--run", Run, "--to", "eetq", "--output", output);
        CommandLine.Succeed("export", "--run", Run, "--to", "int8", "--output", Folder.File("int8/model.onnx"), "--no-verify");

        using SafetensorsFile file = SafetensorsFile.Open(Path.Combine(output, "model.safetensors"));
        ITensor weight = file["model.layers.1.mlp.up_proj.weight"];
        ITensor scales = file["model.layers.1.mlp.up_proj.weight_scales"];
        Assert.AreEqual(DataType.Int8, weight.ElementType);
        CollectionAssert.AreEqual(new long[] { 64, 128 }, weight.Dims.ToArray());
        Assert.AreEqual(DataType.Float16, scales.ElementType);
        Assert.AreEqual(DataType.Float16, file["model.norm.weight"].ElementType);
        Assert.AreEqual(DataType.Float16, file["model.embed_tokens.weight"].ElementType);

        // The same merged weights in two files: equal but for the rounding to fp16 that comes before EETQ's.
        sbyte[] unpacked = EetqLayout.UnpackPadded(weight.ToBytes(), 64, 128);
        using OnnxModel int8 = OnnxModelReader.Read(Folder.File("int8/model.onnx"));
        sbyte[] other = int8.Graph.Initializers.Single(i => i.Name.Contains("layers.1.mlp.up_proj", StringComparison.Ordinal) && i.ElementType == DataType.Int8).Initializer!.ToArray<sbyte>();
        int off = Enumerable.Range(0, 64 * 128).Count(i => Math.Abs(unpacked[i] - other[((i % 128) * 64) + (i / 128)]) > 1);
        Assert.AreEqual(0, off);
        using JsonDocument config = JsonDocument.Parse(File.ReadAllText(Path.Combine(output, "config.json")));
        Assert.AreEqual("llama", config.RootElement.GetProperty("model_type").GetString());
        JsonElement quantization = config.RootElement.GetProperty("quantization_config");
        Assert.AreEqual("eetq", quantization.GetProperty("quant_method").GetString());
        Assert.AreEqual("int8", quantization.GetProperty("weights").GetString());
    }

    [TestMethod]
    public void BaseWeights_OfAnEetqCheckpoint_AreItsBytes()
    {
        string checkpoint = Folder.File("supply/hf/model.safetensors");
        string quantized = Folder.File("supply/int8.onnx");
        CommandLine.Succeed("export", "--run", Run, "--to", "eetq", "--output", Path.GetDirectoryName(checkpoint)!);

        CommandLine.Succeed("quantize", "--model", Folder.File("base/model.onnx"), "--base-weights", Path.GetDirectoryName(checkpoint)!, "--output", quantized);

        using SafetensorsFile file = SafetensorsFile.Open(checkpoint);
        using OnnxModel int8 = OnnxModelReader.Read(quantized);
        foreach (string layer in new[] { "layers.0.self_attn.q_proj", "layers.1.mlp.up_proj", "layers.1.mlp.down_proj" })
        {
            ITensor packed = file[$"model.{layer}.weight"];
            (int rows, int columns) = ((int)packed.Dims[0], (int)packed.Dims[1]);
            sbyte[] plain = EetqLayout.UnpackPadded(packed.ToBytes(), rows, columns);
            Value q = int8.Graph.Initializers.Single(i => i.Name.Contains(layer, StringComparison.Ordinal) && i.ElementType == DataType.Int8);
            Value scale = int8.Graph.Initializers.Single(i => i.Name.Contains(layer, StringComparison.Ordinal) && i.Name.EndsWith("_scale", StringComparison.Ordinal));
            sbyte[] stored = q.Initializer!.ToArray<sbyte>();
            CollectionAssert.AreEqual(plain, Enumerable.Range(0, plain.Length).Select(i => stored[((i % columns) * rows) + (i / columns)]).ToArray(), layer);
            CollectionAssert.AreEqual(file[$"model.{layer}.weight_scales"].ToFloats(), scale.Initializer!.ToFloats(), layer);
        }

        string run = Folder.File("supply/run");
        CommandLine.Succeed(
            "train", "--model", Folder.File("base/model.onnx"), "--base-weights", Path.GetDirectoryName(checkpoint)!, "--data", Folder.File("train.jsonl"), "--out", run, "--quant", "eetq", "--max-steps", "2", "--lr", "0.02");
        string printed = CommandLine.Succeed("export", "--run", run, "--output", Folder.File("supply/merged.onnx"));
        StringAssert.Matches(printed, new(@"Differs from the trained graph by \S+E-0\d?[5-9]"));
    }

    [TestMethod]
    public void BaseWeights_ThatDoNotFit_ListsEveryMismatch()
    {
        string checkpoint = Folder.File("unfit.safetensors");
        SafetensorsWriter.Write(checkpoint, [
            new("model.norm.weight", DenseTensor.Of([63], new float[63])),
            new("model.layers.0.self_attn.q_proj.weight", DenseTensor.Of([64, 64], new sbyte[4096])),
            new("model.layers.7.self_attn.q_proj.weight", DenseTensor.Of([64, 64], new float[4096])),
        ]);

        string error = CommandLine.Fail("quantize", "--model", Folder.File("base/model.onnx"), "--base-weights", checkpoint, "--output", Folder.File("refused.onnx"));

        foreach (string expected in new[] { "'model.norm.weight' is float [63], expected are floats [64]", "q_proj.weight_scales' is missing", "model.layers.7.self_attn.q_proj.weight' belongs to no weight", "embed_tokens.weight [96, 64]' is missing" })
        {
            StringAssert.Contains(error, expected);
        }
    }

    [TestMethod]
    public void Export_Peft_IsTheRunsAdapterAndWarnsOfServers()
    {
        string output = Folder.File("peft");

        (int exitCode, _, string error) = CommandLine.Run("export", "--run", Run, "--to", "peft", "--output", output);

        Assert.AreEqual(0, exitCode, error);
        CollectionAssert.AreEqual(
            File.ReadAllBytes(Path.Combine(Run, "adapter", PeftAdapterFolder.WeightsFile)), File.ReadAllBytes(Path.Combine(output, PeftAdapterFolder.WeightsFile)));
        Assert.IsFalse(error.Contains("Note:", StringComparison.Ordinal), error);
    }

    [TestMethod]
    [DataRow("merged", "x.onnx")]
    [DataRow("int8", "x.onnx")]
    [DataRow("adapter", "x.onnx_adapter")]
    [DataRow("peft", "x/adapter_model.safetensors")]
    [DataRow("eetq", "x/model.safetensors")]
    public void ExportTool_EveryForm_WritesWhatTheCommandWrites(string to, string file)
    {
        string ours = Folder.File($"command/{to}/{file}");
        string theirs = Folder.File($"tool/{to}/{file}");
        string[] arguments = ["--run", Run, "--to", to, "--output"];
        using StringWriter output = new();
        using StringWriter error = new();

        CommandLine.Succeed(["export", "--no-verify", .. arguments, file.StartsWith("x/", StringComparison.Ordinal) ? Path.GetDirectoryName(ours)! : ours]);
        int exitCode = ExportApp.Run([.. arguments, file.StartsWith("x/", StringComparison.Ordinal) ? Path.GetDirectoryName(theirs)! : theirs], output, error);

        Assert.AreEqual(0, exitCode, error.ToString());
        CollectionAssert.AreEqual(File.ReadAllBytes(ours), File.ReadAllBytes(theirs));
        Assert.AreEqual(1, ExportApp.Run(["--run", Folder.File("nowhere"), "--output", "x"], output, error));
        StringAssert.Contains(error.ToString(), "base.json");
    }

    [TestMethod]
    public void Export_ModelChangedSinceTraining_IsRefused()
    {
        using OnnxModel model = OnnxModelReader.Read(Folder.File("base/model.onnx"));
        Value norm = model.Graph.Initializers.First(i => i.Name.Contains("norm", StringComparison.Ordinal));
        model.Graph.SetInitializer(norm, DenseTensor.Of(norm.Initializer!.Dims, Array.ConvertAll(norm.Initializer.ToFloats(), v => v * 1.5f)));
        OnnxModelWriter.Write(model, Folder.File("other.onnx"));

        string error = CommandLine.Fail("export", "--run", Run, "--model", Folder.File("other.onnx"), "--output", Folder.File("refused.onnx"));

        StringAssert.Contains(error, "is not the model that was trained");
        Assert.IsFalse(File.Exists(Folder.File("refused.onnx")));
    }

    [TestMethod]
    [DataRow("--to merged --format qdq", "belongs to --to int8")]
    [DataRow("--to peft --target triton", "Triton serves whole ONNX models")]
    [DataRow("--to eetq --dtype bf16", "EETQ checkpoints hold fp16")]
    [DataRow("--shard-size much", "--shard-size is 'much'")]
    [DataRow("--max-batch-size -1", "--max-batch-size is -1")]
    public void Export_FlagsThatDoNotFit_AreRefused(string flags, string expected)
    {
        string error = CommandLine.Fail(["export", "--run", Run, "--output", Folder.File("refused"), .. flags.Split(' ')]);

        StringAssert.Contains(error, expected);
    }
}

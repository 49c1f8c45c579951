using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Models;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Cli.Tests;

/// <summary>What all commands share, and those that only look.</summary>
[TestClass]
public sealed class CommandLineTests
{
    [TestMethod]
    public void Run_UnknownCommandOrFlag_IsTheUsersFault()
    {
        StringAssert.Contains(CommandLine.Fail("trian"), "trian");
        StringAssert.Contains(CommandLine.Fail("train", "--no-such-flag"), "--no-such-flag");
        StringAssert.Contains(CommandLine.Fail("inspect"), "--model");
    }

    [TestMethod]
    public void Run_Help_ListsEveryCommand()
    {
        string help = CommandLine.Succeed("--help");

        foreach (string command in new[] { "inspect", "train", "eval", "gradients", "generate", "export", "quantize", "doctor", "bench" })
        {
            StringAssert.Contains(help, command);
        }
    }

    [TestMethod]
    public void Run_TrainHelp_ListsEveryFlag()
    {
        string help = CommandLine.Succeed("train", "--help");

        foreach (string flag in (string[])
        [
            "--model", "--data", "--eval-data", "--out", "--task", "--method", "--quant", "--rank", "--alpha", "--rslora", "--targets", "--batch",
            "--grad-accum", "--loss-normalization", "--max-steps", "--epochs", "--lr", "--weight-decay", "--adam-beta1", "--adam-beta2", "--adam-eps",
            "--max-grad-norm", "--lr-schedule", "--warmup-steps", "--init-adapter", "--no-shuffle", "--seed", "--ops", "--config",
        ])
        {
            StringAssert.Contains(help, flag);
        }
    }

    [TestMethod]
    public void Run_Verbose_ShowsTheStackTrace()
    {
        (int exitCode, _, string error) = CommandLine.Run("inspect", "--model", "/nowhere/model.onnx", "--verbose");

        Assert.AreEqual(1, exitCode);
        StringAssert.Contains(error, "   at ");
    }

    [TestMethod]
    public void Run_ArgumentThatBeginsWithAt_IsNoResponseFile() =>
        StringAssert.Contains(CommandLine.Fail("eval", "--model", "@model", "--data", "@data"), "@model");

    [TestMethod]
    public void Doctor_AnyMachine_NamesOnnxRuntimeAndTheNativeLibrary()
    {
        string output = CommandLine.Succeed("doctor");

        StringAssert.Contains(output, "ONNX Runtime");
        StringAssert.Contains(output, "Native operators");
    }

    [TestMethod]
    public void Inspect_SmallModel_ShowsModulesShareAndErrors()
    {
        using TemporaryFolder folder = new();
        string output = CommandLine.Succeed("inspect", "--model", Model(folder), "--targets", "q_proj,v_proj", "--rank", "4");

        StringAssert.Contains(output, "model.layers.0.self_attn.q_proj");
        StringAssert.Contains(output, "output head");
        StringAssert.Contains(output, "on 2 modules trains 512");
        StringAssert.Contains(output, "largest errors");
        StringAssert.Contains(output, "Memory to train");
    }

    [TestMethod]
    [DataRow("none")]
    [DataRow("eetq")]
    public void BenchStep_SmallModel_ReportsTokensAndMemory(string quantization)
    {
        string output = CommandLine.Succeed(
            "bench", "step", "--hidden", "32", "--mlp", "48", "--layers", "1", "--heads", "2", "--vocab", "64", "--batch", "2", "--length", "8",
            "--rank", "2", "--steps", "2", "--warmup", "1", "--quant", quantization);

        StringAssert.Contains(output, "tokens/s");
        StringAssert.Contains(output, "peak memory");
    }

    [TestMethod]
    [DataRow("--precision bf16 needs a GPU", "--precision", "bf16")]
    [DataRow("--cuda-graphs records what runs on an NVIDIA GPU", "--cuda-graphs")]
    public void BenchStep_WhatNeedsAGpuOnTheProcessor_IsRefused(string message, params string[] flags) =>
        StringAssert.Contains(CommandLine.Fail(["bench", "step", "--hidden", "32", "--heads", "2", .. flags]), message);

    [TestMethod]
    public void BenchStep_ModelFile_TakesItsTask()
    {
        using TemporaryFolder folder = new();
        string model = folder.File("model.onnx");
        using (OnnxModel llama = LlamaModelBuilder.Build(new LlamaModelOptions { HiddenSize = 32, IntermediateSize = 48, LayerCount = 1, HeadCount = 2, KeyValueHeadCount = 2, VocabularySize = 64, ContextLength = 8 }))
        {
            OnnxModelWriter.Write(llama, model);
        }

        string[] step = ["bench", "step", "--model", model, "--batch", "3", "--length", "8", "--rank", "2", "--steps", "2", "--warmup", "1", "--task"];
        string embedding = CommandLine.Succeed([.. step, "embedding"]);

        StringAssert.Contains(embedding, $"{model}; batch 3 x 8");
        StringAssert.Contains(embedding, "tokens/s");
        StringAssert.Contains(CommandLine.Succeed([.. step, "causal-lm"]), "tokens/s");
        StringAssert.Contains(CommandLine.Fail([.. step, "regression"]), "makes up no data for --task regression");
    }

    [TestMethod]
    [DataRow("dora", "--rank", "2")]
    [DataRow("adalora", "--init-r", "4", "--target-r", "2")]
    [DataRow("ia3")]
    [DataRow("full")]
    public void BenchStep_Method_TrainsByIt(string method, params string[] flags)
    {
        string output = CommandLine.Succeed([
            "bench", "step", "--hidden", "32", "--mlp", "48", "--layers", "1", "--heads", "2", "--vocab", "64", "--batch", "2", "--length", "8",
            "--steps", "2", "--warmup", "1", "--method", method, .. flags]);

        StringAssert.Contains(output, $"{method}");
        StringAssert.Contains(CommandLine.Fail("bench", "step", "--hidden", "32", "--heads", "2", "--method", method, "--oft-block-size", "8"), $"means nothing to --method");
    }

    [TestMethod]
    [DataRow("q_proj,v_proj")]
    [DataRow("q_proj", "v_proj")]
    [DataRow(".*\\.(q|v)_proj")]
    public void Train_TargetsInAnyForm_MeanTheSame(params string[] targets)
    {
        using TemporaryFolder folder = new();
        string data = folder.Write("train.jsonl", "{\"input_ids\": [1, 2, 3, 4]}\n");
        string run = folder.File("run");

        (int exitCode, _, string error) = CommandLine.Run(
            ["train", "--model", Model(folder), "--data", data, "--out", run, "--max-steps", "1", "--rank", "4", "--targets", .. targets]);

        Assert.AreEqual(0, exitCode, error);
        StringAssert.Contains(error, "2 modules; 512 of");
    }

    private static string Model(TemporaryFolder folder)
    {
        string path = folder.File("model.onnx");
        using OnnxModel model = LlamaModelBuilder.Build(new LlamaModelOptions
        {
            HiddenSize = 32,
            IntermediateSize = 48,
            LayerCount = 1,
            HeadCount = 2,
            VocabularySize = 64,
            ContextLength = 64,
        });
        OnnxModelWriter.Write(model, path);
        return path;
    }
}

using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.Graph.Training.OrtTraining;
using OrtQLoRA.Graph.Training.OrtTraining.Checkpoints;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Cli.Tests.Commands;

[TestClass]
public sealed class ArtifactsCommandTests
{
    private static string DemoModel => Path.Combine(Fixtures.RepositoryRoot()!, "demo", "model.onnx");

    [TestMethod]
    [DataRow("none")]
    [DataRow("eetq")]
    public void Artifacts_OfTheDemoModel_AreFourFilesThatFitEachOther(string quantization)
    {
        using TemporaryFolder folder = new();
        string output = CommandLine.Succeed("artifacts", "--model", DemoModel, "--out", folder.Path, "--rank", "4", "--quant", quantization, "--target", "web");
        OrtArtifactFiles files = new(folder.Path);
        CollectionAssert.AreEquivalent(files.All.Select(Path.GetFileName).ToArray(), Directory.GetFiles(folder.Path).Select(Path.GetFileName).ToArray());
        StringAssert.Contains(output, "input_ids, attention_mask, labels");
        using OrtCheckpoint checkpoint = OrtCheckpointReader.Read(files.Checkpoint);
        using OnnxModel training = OnnxModelReader.Read(files.TrainingModel);
        using OnnxModel eval = OnnxModelReader.Read(files.EvalModel);
        string[] parameters = [.. checkpoint.Trainable.Select(p => p.Name)];
        CollectionAssert.AreEqual(parameters, training.Graph.Inputs.Select(i => i.Name).Skip(3).Take(parameters.Length).ToArray());
        CollectionAssert.AreEqual(parameters, eval.Graph.Inputs.Select(i => i.Name).Skip(3).ToArray());
        Assert.AreEqual(quantization == "eetq", training.Graph.Initializers.Any(i => i.ElementType == DataType.Int8));
    }

    [TestMethod]
    public void Artifacts_LearningRate_IsInTheOptimizerOnTheWebAndInTheCheckpointElsewhere()
    {
        using TemporaryFolder folder = new();
        string[] shared = ["artifacts", "--model", DemoModel, "--rank", "2", "--targets", "q_proj", "--lr", "0.01"];
        CommandLine.Succeed([.. shared, "--out", folder.File("web"), "--target", "web"]);
        CommandLine.Succeed([.. shared, "--out", folder.File("any")]);
        using OnnxModel web = OnnxModelReader.Read(new OrtArtifactFiles(folder.File("web")).OptimizerModel);
        using OnnxModel any = OnnxModelReader.Read(new OrtArtifactFiles(folder.File("any")).OptimizerModel);
        Assert.AreEqual(10f, web.Graph.Initializers[0].Initializer!.ToFloats()[0], 1e-5f);
        Assert.IsEmpty(any.Graph.Initializers);
        using OrtCheckpoint checkpoint = OrtCheckpointReader.Read(new OrtArtifactFiles(folder.File("any")).Checkpoint);
        Assert.AreEqual(0.01f, checkpoint.OptimizerGroups[0].InitialLearningRate);
    }

    [TestMethod]
    public void Artifacts_InitialAdapter_StartFromItsValues()
    {
        using TemporaryFolder folder = new();
        string[] adapter = ["--rank", "2", "--targets", "q_proj", "--init-lora-weights", "gaussian"];
        CommandLine.Succeed(
            ["train", "--model", DemoModel, "--data", folder.Write("data.jsonl", "{\"input_ids\": [1, 2, 3, 4]}\n"), "--out", folder.File("run"), "--max-steps", "1", .. adapter]);
        CommandLine.Succeed("artifacts", "--model", DemoModel, "--out", folder.File("artifacts"), "--init-adapter", folder.File("run/adapter"));
        using OrtCheckpoint checkpoint = OrtCheckpointReader.Read(new OrtArtifactFiles(folder.File("artifacts")).Checkpoint);
        using Graph.Safetensors.SafetensorsFile file = Graph.Safetensors.SafetensorsFile.Open(folder.File("run/adapter/adapter_model.safetensors"));
        Assert.HasCount(file.Tensors.Count, checkpoint.Trainable);
        foreach (CheckpointParameter parameter in checkpoint.Trainable)
        {
            CollectionAssert.AreEqual(file[$"base_model.model.{parameter.Name}"].ToBytes(), parameter.Value!.ToBytes(), parameter.Name);
        }
    }

    [TestMethod]
    [DataRow("--optimizer sgd --momentum 0.9", "0.9")]
    [DataRow("--target phone", "web")]
    [DataRow("--lr 0", "--lr")]
    [DataRow("--model absent.onnx", "absent.onnx")]
    public void Artifacts_WhatTheRuntimeDoesNotKnow_IsRefused(string arguments, string part)
    {
        using TemporaryFolder folder = new();
        string[] given = arguments.Split(' ');
        string[] model = arguments.Contains("--model", StringComparison.Ordinal) ? [] : ["--model", DemoModel];
        StringAssert.Contains(CommandLine.Fail(["artifacts", .. model, "--out", folder.File("out"), .. given]), part);
        Assert.IsFalse(Directory.Exists(folder.File("out")), "Nothing is written.");
    }

    [TestMethod]
    public void Train_OnTheTrainingSession_NamesThePackageWhereTheRuntimeHasNone()
    {
        using TemporaryFolder folder = new();
        string error = CommandLine.Fail(
            "train", "--model", DemoModel, "--data", folder.Write("data.jsonl", "{\"input_ids\": [1, 2, 3, 4]}\n"), "--out", folder.File("run"), "--engine", "ort-training");
        StringAssert.Contains(error, "Microsoft.ML.OnnxRuntime.Training");
        StringAssert.Contains(error, "-p:OrtFlavor=Training");
    }
}

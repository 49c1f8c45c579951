using Google.Protobuf;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.Graph.Serialization.Protos;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Serialization;

/// <summary>
/// Damages real models thousands of times. Whatever still reads must pass through verifier, printer, cloner and
/// writer; whatever does not must be refused with an error of our own, without hanging or eating memory.
/// </summary>
[TestClass]
public sealed class MutationTests
{
    private const long AllocationLimit = 64L << 20;

    [TestMethod]
    [DataRow("exports/dyn18_mlp/model.onnx", 1500)]
    [DataRow("exports/dyn18_local_functions/model.onnx", 1500)]
    [DataRow("exports/genai_llama_int4_cpu/model.onnx", 1500)]
    [DataRow("exports/dyn18_gpt2_external/model.onnx", 500)]
    [DataRow("exports/optimum_t5_merged_if/decoder_model_merged.onnx", 300)]
    [DataRow("exports/ts13_distilbert_initializers_as_inputs/model.onnx", 500)]
    [DataRow("ort-artifacts/d_llama_lora/model.onnx", 400)]
    public void Read_MutatedBytes_ReadsOrSaysWhy(string fixture, int rounds)
    {
        byte[] original = File.ReadAllBytes(Fixtures.Require(fixture));
        Run(fixture, rounds, original.Length, random => ByteMutator.Mutate(original, random));
    }

    [TestMethod]
    [DataRow("exports/dyn18_mlp/model.onnx", 2000)]
    [DataRow("exports/dyn18_local_functions/model.onnx", 2000)]
    [DataRow("exports/genai_llama_int4_cpu/model.onnx", 1000)]
    [DataRow("exports/optimum_t5_merged_if/decoder_model_merged.onnx", 100)]
    [DataRow("ort-artifacts/a_mlp_crossentropy_adamw/training_model.onnx", 1000)]
    public void Read_MutatedFields_ReadsOrSaysWhy(string fixture, int rounds)
    {
        ModelProto original = ModelProto.Parser.ParseFrom(File.ReadAllBytes(Fixtures.Require(fixture)));
        Run(fixture, rounds, rounds, random =>
        {
            ModelProto model = original.Clone();
            ProtoMutator.Mutate(model, random);
            return model.ToByteArray();
        });
    }

    [TestMethod]
    [DataRow(3000)]
    public void Read_MutatedModelOfEveryFeature_ReadsOrSaysWhy(int rounds)
    {
        ModelProto original = OnnxModelWriterTests.Everything();
        Run("", rounds, rounds, random =>
        {
            ModelProto model = original.Clone();
            ProtoMutator.Mutate(model, random);
            return model.ToByteArray();
        });
    }

    private static void Run(string fixture, int rounds, int seed, Func<Random, byte[]> mutate)
    {
        string folder = fixture.Length == 0 ? Path.GetTempPath() : Path.GetDirectoryName(Fixtures.Require(fixture))!;
        Random random = new(seed);
        for (int round = 0; round < rounds; round++)
        {
            byte[] bytes = mutate(random);
            long before = GC.GetAllocatedBytesForCurrentThread();
            try
            {
                if (TryRead(bytes, folder) is { } model)
                {
                    Exercise(model, folder);
                }
            }
            catch (Exception e)
            {
                Assert.Fail($"{fixture}, seed {seed}, round {round}: {e}");
            }

            long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
            Assert.IsLessThan(AllocationLimit, allocated, $"{fixture}, seed {seed}, round {round}: bytes allocated");
        }
    }

    private static OnnxModel? TryRead(byte[] bytes, string folder)
    {
        try
        {
            return OnnxModelReader.Read(bytes, folder);
        }
        catch (OrtQLoRAException)
        {
            // The expected answer to a damaged file.
            return null;
        }
    }

    // What was read once must go through everything, and must come back.
    private static void Exercise(OnnxModel damaged, string folder)
    {
        using OnnxModel model = damaged;
        IReadOnlyList<string> faults = GraphVerifier.FindFaults(model);
        string text = GraphPrinter.Print(model);
        using OnnxModel clone = ModelCloner.Clone(model);
        Assert.AreEqual(text, GraphPrinter.Print(clone));
        using OnnxModel again = OnnxModelReader.Read(OnnxModelWriter.ToBytes(clone), folder);
        Assert.AreEqual(text, GraphPrinter.Print(again));
        Assert.HasCount(faults.Count, GraphVerifier.FindFaults(again));
    }
}

using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Serialization;
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
    public void Read_MutatedModel_ReadsOrSaysWhy(string fixture, int rounds)
    {
        string path = Fixtures.Require(fixture);
        byte[] original = File.ReadAllBytes(path);
        int seed = 20_000 + original.Length;
        Random random = new(seed);
        for (int round = 0; round < rounds; round++)
        {
            byte[] bytes = ByteMutator.Mutate(original, random);
            long before = GC.GetAllocatedBytesForCurrentThread();
            try
            {
                Exercise(bytes, Path.GetDirectoryName(path)!);
            }
            catch (OrtQLoRAException)
            {
                // The expected answer to a damaged file.
            }
            catch (Exception e)
            {
                Assert.Fail($"{fixture}, seed {seed}, round {round}: {e}");
            }

            long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
            Assert.IsLessThan(AllocationLimit, allocated, $"{fixture}, seed {seed}, round {round}: bytes allocated");
        }
    }

    private static void Exercise(byte[] bytes, string folder)
    {
        using OnnxModel model = OnnxModelReader.Read(bytes, folder);
        IReadOnlyList<string> faults = GraphVerifier.FindFaults(model);
        string text = GraphPrinter.Print(model);
        using OnnxModel clone = ModelCloner.Clone(model);
        Assert.AreEqual(text, GraphPrinter.Print(clone));
        using OnnxModel again = OnnxModelReader.Read(OnnxModelWriter.ToBytes(clone), folder);
        Assert.AreEqual(text, GraphPrinter.Print(again));
        Assert.HasCount(faults.Count, GraphVerifier.FindFaults(again));
    }
}

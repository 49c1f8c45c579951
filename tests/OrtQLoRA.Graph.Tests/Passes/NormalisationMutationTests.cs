using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Passes;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Passes;

/// <summary>Graphs that are well-formed but make no sense: passes finish or fail with our own errors.</summary>
[TestClass]
public sealed class NormalisationMutationTests
{
    private static readonly long[] Edges = [0, 1, -1, 2, 3, -2, 7, -5, int.MaxValue, 1L << 40, long.MaxValue, long.MinValue];

    [TestMethod]
    [DataRow("exports/ts11_bert_encoder/model.onnx", 1)]
    [DataRow("exports/dyn18_cnn_batchnorm_op/model.onnx", 2)]
    [DataRow("exports/genai_qwen3_int8/model.onnx", 3)]
    [DataRow("exports/dyn23_llama_attention_op/model.onnx", 4)]
    public void ForTraining_MutatedGraph_EndsOrSaysWhy(string path, int seed)
    {
        using ExportCase export = ExportCase.Open(path);
        Random random = new(seed);
        for (int round = 0; round < 60; round++)
        {
            using OnnxModel model = export.ReadModel();
            string[] faults = [.. Enumerable.Range(0, random.Next(1, 5)).Select(_ => Mutate(model.Graph, random))];
            try
            {
                // One by one, since a pipeline would wrap what a pass did not mean to throw.
                foreach (GraphPass pass in NormalisationPipeline.ForTraining().Passes)
                {
                    pass.Run(model);
                }
            }
            catch (OrtQLoRAException)
            {
                continue;
            }
            catch (Exception e)
            {
                Assert.Fail($"{path}, seed {seed}, round {round}, after {string.Join("; ", faults)}: {e}");
            }
        }
    }

    private static string Mutate(OnnxGraph graph, Random random)
    {
        Node[] nodes = [.. graph.AllNodes()];
        Node node = nodes[random.Next(nodes.Length)];
        switch (random.Next(4))
        {
            case 0:
                foreach ((string name, NodeAttribute attribute) in node.Attributes.ToArray())
                {
                    node.SetAttribute(name, attribute.Kind switch
                    {
                        AttributeKind.Int => Edge(random),
                        AttributeKind.Ints => attribute.AsInts().Select(v => random.Next(2) == 0 ? v : Edge(random)).ToArray(),
                        _ => attribute,
                    });
                }

                return $"attributes of {node}";
            case 1 when node.Inputs.Count > 0:
                node.TruncateInputs(random.Next(1, node.Inputs.Count + 1));
                return $"fewer inputs for {node}";
            case 2 when node.Inputs.Count > 0:
                Value[] sources = [.. graph.Inputs, .. graph.Initializers];
                node.SetInput(random.Next(node.Inputs.Count), random.Next(4) == 0 ? null : sources[random.Next(sources.Length)]);
                return $"another input for {node}";
            default:
                Value[] integers = [.. graph.Initializers.Where(i => i.ElementType == DataType.Int64 && i.Initializer!.ByteLength is > 0 and < 100)];
                if (integers.Length == 0)
                {
                    return "nothing";
                }

                Value constant = integers[random.Next(integers.Length)];
                ITensor content = constant.Initializer!;
                long[] values = [.. content.ToInt64s().Select(v => random.Next(2) == 0 ? v : Edge(random))];
                graph.SetInitializer(constant, DenseTensor.Of(content.Dims, values));
                return $"{constant.Name} = [{string.Join(", ", values)}]";
        }
    }

    private static long Edge(Random random) => Edges[random.Next(Edges.Length)];
}

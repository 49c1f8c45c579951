using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Trainer.Engines.Session;

/// <summary>
/// Makes ONNX Runtime run a graph in the order in which its nodes stand, so that memory is freed as early as planned.
/// </summary>
/// <remarks>
/// ONNX Runtime does not keep the file's order. It walks depth first from the outputs to the inputs and, at each node, goes
/// to the node with the highest index first. In file order that runs every node without inputs (a weight's
/// DequantizeLinear) before all others, and the gradient of the first layer before those of the later ones, which keeps all
/// dequantized weights and all output gradients alive at once. Written backwards, the walk meets the earliest node first:
/// nodes run in our order, each as late as that allows. The runtime does not ask for a sorted file.
/// </remarks>
internal static class ExecutionOrder
{
    internal static void Reverse(OnnxGraph graph)
    {
        foreach (Node node in graph.Nodes.ToArray())
        {
            graph.Move(node, graph.First);
        }
    }
}

using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Passes;

namespace OrtQLoRA.Graph.Training.Packing;

/// <summary>
/// Lets rows of a decoder hold several examples that do not see each other: adds the input
/// <see cref="ArtifactNames.SegmentIds"/>, closes every attention between tokens of two segments, and makes positions begin
/// anew with each segment, by <see cref="ArtifactNames.SegmentPositions"/> where the graph counts them itself.
/// </summary>
/// <remarks>
/// Requires a normalised graph with shapes, fused attention taken apart. Ensures: rows of one segment give what they gave
/// before. Tokens that mix by other means than a softmax over pairs (convolution, recurrence) are refused.
/// </remarks>
public sealed class PackingPass : GraphPass
{
    /// <summary>Operators that carry something from token to token along a row.</summary>
    private static readonly HashSet<string> Mixing = ["Conv", "ConvTranspose", "LSTM", "GRU", "RNN", "Scan", "Loop", "If", "CumSum"];

    /// <summary>
    /// Gives the inputs that are filled token by token one shape, so that what is computed of them is known to fit together.
    /// Comes before shapes are inferred.
    /// </summary>
    public static void AlignInputs(OnnxModel model)
    {
        Value tokens = Tokens(model.Graph);
        foreach (Value input in model.Graph.RequiredInputs.Where(i => i.Shape is { Rank: 2 } && i.Name is "attention_mask" or TokenFlow.PositionInput or "token_type_ids"))
        {
            input.Type = new OnnxType.Tensor(input.ElementType, tokens.Shape);
        }
    }

    /// <inheritdoc/>
    /// <exception cref="ConfigurationException">The model's tokens cannot be kept apart; the message names the node.</exception>
    public override bool Run(OnnxModel model)
    {
        OnnxGraph graph = model.Graph;
        Value tokens = Tokens(graph);
        TokenFlow flow = new(graph, tokens);
        Node[] nodes = [.. graph.Nodes];
        foreach (Node node in nodes.Where(n => Mixing.Contains(n.OpType) && n.Inputs.Any(flow.IsHidden)))
        {
            throw new ConfigurationException(
                $"--packing works on decoders whose tokens see each other through attention alone, but {node.Describe()} carries something from token to token. Train this model without --packing.");
        }

        Value segments = graph.AddInput(ArtifactNames.SegmentIds, DataType.Int64, tokens.Shape);
        SegmentPositions positions = new(model, flow, tokens);
        SegmentMasks masks = new(model, flow, tokens, segments);
        Array.ForEach(nodes, positions.Restart);
        Node[] attention = [.. nodes.Where(n => n.Is("Softmax") && masks.Close(n))];
        if (attention.Length == 0)
        {
            throw new ConfigurationException("--packing finds no attention (a softmax over tokens by tokens) in this model. Train it without --packing.");
        }

        new ShapeInferencePass().Run(model);
        return true;
    }

    private static Value Tokens(OnnxGraph graph)
    {
        Value tokens = graph.RequiredInputs.FirstOrDefault(i => i.Name == TokenFlow.TokenInput)
            ?? throw new ConfigurationException($"--packing needs a model with an input '{TokenFlow.TokenInput}'; this one has {string.Join(", ", graph.RequiredInputs.Select(i => i.Name))}.");
        return tokens.Shape is { Rank: 2 } shape && !shape[1].IsKnown
            ? tokens
            : throw new ConfigurationException(
                $"--packing needs a model whose input '{TokenFlow.TokenInput}' is [batch, sequence] with a dynamic sequence axis; this one's is {tokens.Shape?.ToString() ?? "of unknown shape"}. Export it so, or train without --packing.");
    }
}

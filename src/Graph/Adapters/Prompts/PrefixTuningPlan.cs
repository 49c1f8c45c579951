using OrtQLoRA.Graph.Adapters.BaseWeights;
using OrtQLoRA.Graph.Adapters.Peft;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.Prompts;

/// <summary>
/// Prefix tuning of one model. The model runs over virtual tokens in front of the text, so that positions and masks fall out
/// right; in every attention the virtual positions' keys (as they are after any rotation) and values are then replaced by the
/// trained ones, and outputs lose the virtual positions. What the virtual positions compute besides reaches no token.
/// </summary>
internal sealed class PrefixTuningPlan : AdapterPlan
{
    private readonly int _count;
    private readonly int _headSize;
    private readonly int _heads;
    private readonly int _layers;
    private readonly AdapterTensor _prefix;

    public PrefixTuningPlan(PrefixTuningConfig config, LinearSites sites)
        : this(config, sites, Measure(config, sites))
    {
    }

    private PrefixTuningPlan(PrefixTuningConfig config, LinearSites sites, (int Layers, int Heads, int HeadSize) sizes)
        : base(config.WithSizes<PrefixTuningConfig>(sizes.Heads * sizes.HeadSize, sizes.Layers, sizes.Heads))
    {
        VirtualTokenInputs.TokenEmbeddings(sites);
        _count = config.VirtualTokens;
        (_layers, _heads, _headSize) = sizes;
        TrainedWeights = [.. SavedModules.Train(sites, config.AllModulesToSave, PeftKeys.PromptPrefix)];
        _prefix = new AdapterTensor(
            "prompt_embeddings", "prompt_embeddings", [_count, 2L * _layers * _heads * _headSize], (start, values) => start.Random.FillGaussian(values, 1))
        {
            GradientKey = "prompt_encoder.embedding.weight",
        };
    }

    public override IReadOnlyList<AdapterTensor> Tensors => [_prefix];

    public override IReadOnlyList<TrainedWeight> TrainedWeights { get; }

    public override void Insert(AdapterInsertionContext context)
    {
        const string Scope = "prefix/";
        GraphBuilder start = context.AtStart(Scope);
        Value all = start.Reshape(context.Input(_prefix), _count, 2L * _layers, _heads, _headSize);
        IReadOnlyList<(AttentionPart Keys, AttentionPart Values)> attentions = AttentionFinder.Find(context.Model.Graph);
        for (int layer = 0; layer < attentions.Count; layer++)
        {
            Replace(context, all, 2 * layer, attentions[layer].Keys, Scope);
            Replace(context, all, (2 * layer) + 1, attentions[layer].Values, Scope);
        }

        CropOutputs(context.Model, Scope);
        VirtualTokenInputs.Extend(context.Model, _count, Scope);
    }

    public override string? MergeObstacle =>
        "Prefix tuning cannot be merged: it adds keys and values to the attentions and changes no weight. Keep the adapter beside the model.";

    private static (int Layers, int Heads, int HeadSize) Measure(PrefixTuningConfig config, LinearSites sites)
    {
        IReadOnlyList<(AttentionPart Keys, AttentionPart Values)> attentions = AttentionFinder.Find(sites.Model.Graph);
        if (attentions.Count == 0)
        {
            throw new ConfigurationException("Prefix tuning puts keys and values in front of every attention's own, but the model has no attention that is recognised (a softmax between two products). Use another method.");
        }

        AttentionPart keys = attentions[0].Keys;
        if (keys.Size(3) is not { } size || keys.Size(1) is not { } heads)
        {
            throw new ConfigurationException($"Prefix tuning needs the number and size of the attention's heads, which the shape of '{keys.Value.Name}' does not tell ({keys.Value.Shape?.ToString() ?? "unknown"}).");
        }

        // Grouped queries: the keys' own heads are fewer than those that the product sees.
        int own = config.Heads is { } given && config.TokenDim == given * size && heads % given == 0 ? given : OwnHeads(keys) ?? (int)heads;
        int layers = attentions.Count;
        return config.Layers is { } stated && stated != layers
            ? throw new ConfigurationException($"num_layers is {stated}, but the model has {layers} attentions; the adapter belongs to another model.")
            : (layers, own, (int)size);
    }

    // repeat_kv: [batch, heads, position, size] is unsqueezed, expanded and folded again.
    private static int? OwnHeads(AttentionPart keys) =>
        keys.Value.Producer is { OpType: "Reshape" } fold && fold.Inputs[0]?.Producer is { OpType: "Expand" or "Tile" or "Concat" } repeat
            && repeat.Inputs[0]?.Shape is { Rank: 5 } shape && shape[1].Value is { } heads ? (int)heads : null;

    private void Replace(AdapterInsertionContext context, Value all, int index, AttentionPart part, string scope)
    {
        GraphBuilder b = new(part.Reader.Graph!, context.Model.Opset, part.Reader) { Scope = scope };
        Value present = part.Value;
        OnnxType? type = present.Type;
        int seen = (int)part.Size(1)!.Value;

        // [virtual, heads, size] -> each head as often as queries share it -> [1, ...] in the tensor's own order of axes.
        Value own = b.Squeeze(b.Op("Slice", [all, b.Int64s(index), b.Int64s(index + 1), b.Int64s(1)]), 1);
        if (seen != _heads)
        {
            own = b.Reshape(b.Expand(b.Unsqueeze(own, 2), b.Int64s(_count, _heads, seen / _heads, _headSize)), _count, seen, _headSize);
        }

        Value ordered = b.Transpose(b.Unsqueeze(b.Transpose(own, 1, 0, 2), 0), Inverse(part.Axes));
        long batchAxis = part.Axes[0];
        Value[] dims = [b.Int64s(1), b.Int64s(1), b.Int64s(1), b.Int64s(1)];
        dims[batchAxis] = b.ShapeOf(present, batchAxis, batchAxis + 1);
        Value prefix = b.Cast(b.Expand(ordered, b.Concat(0, dims)), present.ElementType);
        Value rest = b.Op("Slice", [present, b.Int64s(_count), b.Int64s(long.MaxValue), b.Int64s(part.Axes[2])]);
        Value joined = b.Concat(part.Axes[2], prefix, rest);
        joined.Type = type;
        part.Reader.SetInput(part.Index, joined);
    }

    // Axes say where [batch, head, position, feature] lie; a Transpose wants the reverse.
    private static long[] Inverse(long[] axes)
    {
        long[] inverse = new long[axes.Length];
        for (int role = 0; role < axes.Length; role++)
        {
            inverse[axes[role]] = role;
        }

        return inverse;
    }

    private void CropOutputs(OnnxModel model, string scope)
    {
        Dimension sequence = model.Graph.GetValue("input_ids").Shape![1];
        HashSet<Node> attentions = [.. AttentionFinder.Find(model.Graph).Select(a => a.Values.Reader)];
        foreach (Value output in model.Graph.Outputs.ToArray())
        {
            if (output.Shape is not { Rank: >= 2 } shape || shape[1] != sequence)
            {
                if (output.Shape is not { Rank: 4 })
                {
                    PooledOutput.Crop(model, output, sequence, _count, attentions, scope);
                }

                continue;
            }

            GraphBuilder b = new(model.Graph, model.Opset) { Scope = scope };
            Dimension[] dims = [.. shape];
            dims[1] = Dimension.Of("given_length");
            AdapterInsertionContext.Rewrite(output, value =>
            {
                Value cropped = b.Op("Slice", [value, b.Int64s(_count), b.Int64s(long.MaxValue), b.Int64s(1)]);
                cropped.Type = new OnnxType.Tensor(value.ElementType, new Shape(dims));
                return cropped;
            });
        }
    }
}
